"""Texts as vectors, so that records are found by meaning."""
