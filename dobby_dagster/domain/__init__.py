"""What Dobby speaks of: records, states, summaries, errors, settings. No Dagster, no Cozo, no torch."""
