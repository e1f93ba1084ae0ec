"""The one error that a user's input can cause, and the exit statuses of the command line."""

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3  # `train` was asked to stop, and did, after a checkpoint
EXIT_NOT_VERIFIED = 4  # a model version is missing, changed, or not signed by the key
EXIT_WORSE = 5  # `evaluate` found the model worse than the one that it is to replace


class WorkloadError(ValueError):
    """Bad input to a workload: the message names the property, its value, the rule and the fix, on one line."""


class NotVerifiedError(Exception):
    """A registered version is missing, its files are not what was registered, or the key has not signed them."""
