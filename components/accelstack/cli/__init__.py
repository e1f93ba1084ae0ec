"""The `accelstack` command: what accelerators there are, what a stack comes to and costs, and what is in its way."""
