"""Which files git would list, without running git."""
