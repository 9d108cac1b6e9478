"""Classification: sequences with a label each."""
