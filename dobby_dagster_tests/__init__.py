"""The environment in which all tests run, set before anything reads it."""

import os

# Tests run side by side: threads of small models would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The width of the terminal that the tests were started in reaches none of them.
os.environ.pop("COLUMNS", None)
