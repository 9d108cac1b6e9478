"""How good forecasts are, and what they are compared with."""
