"""Backups, integrity checks, repair and pruning."""
