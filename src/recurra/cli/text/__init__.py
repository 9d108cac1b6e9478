"""Commands that use a language model."""
