"""Decisions as pure functions: no cloud SDK, no input or output, no Pulumi resource."""
