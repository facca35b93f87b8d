"""The command ``dobby``."""
