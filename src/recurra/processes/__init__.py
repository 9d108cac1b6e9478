"""Processes of this package that carry out what they are handed."""
