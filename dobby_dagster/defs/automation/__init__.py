"""What happens unattended: new rows become runs, failures are retried, crashes mended, upkeep done, alerts sent."""
