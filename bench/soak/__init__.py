"""A long run of a whole system: arrivals, edits, deletes, kills and changes of recipe, then the books are checked."""
