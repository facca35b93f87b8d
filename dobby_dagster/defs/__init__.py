"""Everything Dagster: assets, checks, jobs, partitions, IO manager, resources. Thin."""

import warnings

import dagster as dg

# One warning an asset at every load, for a parameter that has been stable for years.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
