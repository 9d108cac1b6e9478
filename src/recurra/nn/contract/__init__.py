"""The contract that every recurrence keeps, as a check of anyone's own."""
