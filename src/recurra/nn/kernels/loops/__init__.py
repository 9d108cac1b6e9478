"""Recurrences with a product of the hidden state a step, whole sequences at once."""
