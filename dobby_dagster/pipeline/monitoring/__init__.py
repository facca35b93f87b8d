"""What runs are doing now, read from what they committed: from any process, and right after a restart."""
