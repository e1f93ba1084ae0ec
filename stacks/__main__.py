"""The stack's program: reads the settings, runs the blueprints, exports their outputs."""

import pulumi
import settings
from blueprints import platform, workloads


def main() -> None:
    """Runs the blueprints.

    Raises:
        pulumi.RunError: the settings or the args of a component break a rule.
    """
    chosen = settings.read()
    try:
        base = platform.build(chosen)
        work = workloads.build(chosen, base)
    except pulumi.InputPropertyError as error:
        raise pulumi.RunError(f"{error.property_path}: {error.reason}") from None
    for name, value in {**platform.outputs(base), **workloads.outputs(work)}.items():
        pulumi.export(name, value)


main()
