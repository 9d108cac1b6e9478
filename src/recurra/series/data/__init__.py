"""Series as a network sees them: parts by time, channels, windows."""
