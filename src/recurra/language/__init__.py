"""Language models: text, its tokens, the recurrent network and the n-grams beside it."""
