"""Ways to make a model smaller or faster, one per file."""
