"""Many settings: runs side by side in one folder, and one table of what they come to."""
