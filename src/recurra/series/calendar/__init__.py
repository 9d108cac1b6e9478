"""The steps of a calendar: what lies between two stamps, and what it is called."""
