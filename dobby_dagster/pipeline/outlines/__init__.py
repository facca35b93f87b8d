"""Outlines: the contents of files and packages, derived from their parts and the summaries of those."""
