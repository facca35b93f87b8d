"""The relation that records come from, and how changes in it are found."""
