"""Health, readiness and Prometheus metrics over HTTP, read from the ledger; no model and no Dagster is imported."""
