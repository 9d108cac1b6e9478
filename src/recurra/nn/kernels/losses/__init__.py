"""Losses over a vocabulary that never hold all of its probabilities."""
