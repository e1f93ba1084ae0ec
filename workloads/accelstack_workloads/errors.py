"""The one error that a user's input can cause, and the exit statuses of the command line."""

EXIT_NOT_VERIFIED = 4  # `registry verify` or `fetch` found a version missing or changed
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3  # `train` was asked to stop, and did, after a checkpoint


class WorkloadError(ValueError):
    """Bad input to a workload: the message names the property, its value, the rule and the fix, on one line."""


class NotVerifiedError(Exception):
    """A registered version is missing, or its files are not what was registered."""
