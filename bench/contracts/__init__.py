"""Every performance contract measured on real parts: ``python -m bench contracts``."""
