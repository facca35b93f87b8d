"""Speed and memory on this machine, side by side with what a person would use instead: ``python -m bench``."""
