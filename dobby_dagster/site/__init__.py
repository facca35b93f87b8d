"""A static site of the records and their summaries: pages built by pure functions, and the folder they go to."""
