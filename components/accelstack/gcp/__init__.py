"""Google Cloud as a target."""
