"""How the built-in model is made: corpus, tokenizer, training, evaluation. Not installed with the package."""
