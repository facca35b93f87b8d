"""The Dagster layer: assets, checks, jobs, partitions, IO manager, resources, sensors, schedules, runs."""

import warnings

import dagster as dg

# Dagster prints one warning per asset at every load, for a parameter that has been stable for years.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
