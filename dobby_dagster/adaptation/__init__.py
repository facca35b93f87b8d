"""``dobby adapt``: the model is trained on a project's own documented functions, and kept if it is better there."""
