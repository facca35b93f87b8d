"""Training of a model's last layers on examples of one project; needs torch."""
