"""Callees first: the summaries of what a function calls are part of its prompt."""
