"""How others train the same, each as its own documentation shows it: what the trainer is measured against."""
