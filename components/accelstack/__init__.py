"""Infrastructure as code for AI cloud stacks: clusters, storage, training and serving, as Pulumi components."""
