"""Where the database, Dagster and Dobby's own commands end: ``python -m bench scale``."""
