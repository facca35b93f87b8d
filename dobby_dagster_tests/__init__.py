"""The environment in which all tests run, set before anything reads it."""

import os
import shutil

# Tests run side by side: threads of small models would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The width of the terminal that the tests were started in reaches none of them.
os.environ.pop("COLUMNS", None)
# Databases wait for their disk at every commit: in memory, where there is enough of it, the tests take half the time.
_MEMORY = "/dev/shm"
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)
