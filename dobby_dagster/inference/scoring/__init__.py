"""How far a summary can be trusted: calibrated confidence, kinds of content, grounding."""
