"""Dobby: a good short summary of every record in a CozoDB database, by a local language model."""

__version__ = "0.1.0"
