"""What one does with a language model: score, rescore, suggest, write."""
