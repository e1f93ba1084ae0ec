"""Amazon Web Services as a target."""
