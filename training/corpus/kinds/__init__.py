"""Pairs of contents other than functions and classes, and a sentence about each: from released packages, or by rule."""
