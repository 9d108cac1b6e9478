"""Products of matrices at the shapes recurrences have, and the threads that share them."""
