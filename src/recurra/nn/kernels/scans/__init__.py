"""Recurrences in which no channel reads another's past."""
