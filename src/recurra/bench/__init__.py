"""Comparisons that take minutes, each a program over the rest."""
