"""Commands that train, measure and mix."""
