"""Programs that run a model folder's chat template and tokenizer in processes of their own, with limits."""
