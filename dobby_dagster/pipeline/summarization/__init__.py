"""From records to outcomes: the engine, the quality gate, chunks."""
