"""Unattended work: new rows become runs, failures are retried, dead runs recovered, alerts sent, the database kept."""
