"""The exit codes of ``dobby`` besides 0, for success, and 2, for wrong arguments."""

FAILED = 1
STOPPED = 130
