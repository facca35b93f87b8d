"""Makes the embedding that ``dobby search`` finds records by: a vector for each word piece, averaged."""
