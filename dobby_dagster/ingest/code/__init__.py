"""Source code into functions, methods and classes."""
