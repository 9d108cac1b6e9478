"""What of a training may be one's own: how it is called, what it returns, and what is kept."""
