"""Search over summaries: records are ranked by several retrievers, and the rankings are fused."""
