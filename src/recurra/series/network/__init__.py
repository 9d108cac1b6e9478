"""The network that forecasts: its parts, what it learns from, and how large it is made."""
