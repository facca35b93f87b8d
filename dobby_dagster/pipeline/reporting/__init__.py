"""What was done: metrics, invariants, doubtful summaries, exports."""
