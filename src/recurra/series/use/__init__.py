"""The forecaster that a run leaves, what it says, and how it is judged on the past."""
