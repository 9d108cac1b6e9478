"""What runs on a GPU: recorded graphs and Triton's kernels."""
