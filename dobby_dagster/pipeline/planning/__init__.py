"""What is to be done: batches from changes in the source, retries, previews, selected records."""
