"""Text as numbers: how it is cut, numbered, kept and dealt out."""
