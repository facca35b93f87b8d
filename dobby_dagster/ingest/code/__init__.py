"""Splits source code into functions, methods and classes."""
