"""Quantities of resources, as Kubernetes reads and writes them."""

from accelstack.plan import inventory

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
DECIMAL, BINARY = ("T", "G", "M", "k"), ("Ti", "Gi", "Mi", "Ki")
"""Units, the largest first."""


def amount(quantity: str) -> float:
    """A quantity of Kubernetes as a number, such as 2**30 for `1Gi`.

    Raises:
        ValueError: it is none.
    """
    return inventory.quantity(quantity)


def canonical(quantity: str) -> str:
    """The quantity as Kubernetes writes it, such as `5Gi` for `5120Mi`.

    A controller that touches an object leaves it so, and any other writing would look like a change.

    Raises:
        ValueError: it is none.
    """
    number = amount(quantity)
    if quantity.endswith("i"):
        unit = next((each for each in BINARY if number % UNITS[each] == 0), "")
        return f"{int(number) // UNITS[unit]}{unit}"
    if number % 1:
        return f"{round(number * 1000)}m"
    unit = next((each for each in DECIMAL if number and number % UNITS[each] == 0), "")
    return f"{int(number) // UNITS[unit]}{unit}"
