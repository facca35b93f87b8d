"""Pairs of code and the first sentence of its documentation, from released packages."""
