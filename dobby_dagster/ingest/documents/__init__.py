"""Splits Markdown, notebooks and SQL into sections, cells and statements."""
