"""Resolves what code refers to into the edges of the code graph."""
