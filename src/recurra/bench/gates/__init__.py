"""What each gate of the LSTM is worth: the cell without them, and the comparison."""
