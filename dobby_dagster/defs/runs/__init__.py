"""Dagster runs: in this process or by the daemon, retried, and recovered after a crash."""
