"""Tensor functions that vendor libraries lack or do slowly, and the doors to those they do well."""
