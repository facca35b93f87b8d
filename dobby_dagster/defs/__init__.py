"""Everything Dagster: assets, checks, jobs, partitions, IO manager, resources. Thin."""
