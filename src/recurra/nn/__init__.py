"""Recurrences: cells, wrappers, the one loop over time, and the kernels that stand in for it."""
