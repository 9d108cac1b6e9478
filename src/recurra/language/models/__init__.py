"""The language models: one a file, each a recurrence over tokens."""
