"""Plan batches, stream records through the engine, gate, commit, measure. No Dagster here."""
