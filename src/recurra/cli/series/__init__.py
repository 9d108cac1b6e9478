"""Commands that use a forecaster or a classifier."""
