"""Small computations to look at, each printed in full."""
