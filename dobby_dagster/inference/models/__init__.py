"""A model folder on disk: its files, configuration and weights. Everything in it is untrusted."""
