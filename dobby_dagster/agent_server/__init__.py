"""Stored summaries for coding agents, by the Model Context Protocol: each tool reads, and changes nothing."""
