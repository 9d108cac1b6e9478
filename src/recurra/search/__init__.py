"""What follows from a step and a state alone: rows side by side, what to draw, beams, edits."""
