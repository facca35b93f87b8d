"""A model folder on disk: its files, its shape, its weights. Everything in it is untrusted."""
