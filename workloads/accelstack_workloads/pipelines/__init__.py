"""A workload's steps as one pipeline: which there are, what they take from each other, and how they are run."""
