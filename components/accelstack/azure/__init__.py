"""Microsoft Azure as a target."""
