"""How reliable a summary is: calibrated confidence, kinds of content, grounding."""
