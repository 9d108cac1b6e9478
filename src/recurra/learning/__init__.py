"""Learning: events, optimization, checkpoints and the loop; knows parameters, no task."""
