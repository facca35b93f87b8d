"""The documentation of a function or class: its first sentence, and the code without it."""
