"""Planning: batches from changes in the source, retries, previews, selected records."""
