"""Determines the files that git would list, without running git."""
