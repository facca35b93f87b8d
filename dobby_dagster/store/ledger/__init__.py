"""Relations of Dobby: record versions, batches, states, summaries, chunks, and reports on them."""
