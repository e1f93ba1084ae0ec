"""Forms that a model is given to other programs in, one per file."""
