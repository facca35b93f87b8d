"""Building CozoScript, and which values can be stored."""
