"""Connections to CozoDB: embedded behind a lease, or over HTTP."""
