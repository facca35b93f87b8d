"""How good the built-in model is, on projects that it never saw."""
