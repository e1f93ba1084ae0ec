"""What a plan costs: an estimate from dated tables. A price that no source gives is unknown, never guessed."""

from dataclasses import dataclass
from math import ceil

from accelstack.plan import tables
from accelstack.plan.findings import Finding, Severity

HOURS_A_MONTH = 730
"""Hours in a twelfth of a year, as the clouds' own calculators count
(https://docs.aws.amazon.com/pricing-calculator/latest/userguide/estimate-settings.html)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the estimate."""

    name: str
    monthly_usd: float | None
    """None where no source gives the price."""
    source: str
    date: str
    """Of the price; empty where it is unknown."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs while all its nodes run."""

    items: tuple[Item, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What has no known price."""
        return tuple(item.name for item in self.items if item.monthly_usd is None)

    @property
    def known_monthly_usd(self) -> float:
        """The sum of what is known."""
        return sum(item.monthly_usd or 0 for item in self.items)

    @property
    def monthly_usd(self) -> float | None:
        """The whole; None while any part is unknown."""
        return None if self.unknown or not self.items else self.known_monthly_usd

    @property
    def hourly_usd(self) -> float | None:
        """The whole, an hour; None while any part is unknown."""
        return None if self.monthly_usd is None else self.monthly_usd / HOURS_A_MONTH

    @property
    def catalogue_date(self) -> str | None:
        """Date of the oldest price in it; None where it has none."""
        return min((item.date for item in self.items if item.date), default=None)


def rate(target: str, region: str, item: str) -> tuple[float | None, str, str]:
    """USD, source and date of a service's unit, such as a `control_plane` hour; unknown where no row gives it."""
    for row in tables.rows("rates"):
        if row["target"] == target and row["item"] == item and row["region"] in ("", region):
            return float(row["usd"]), row["source"], row["date"]
    return None, "", ""


def service(name: str, target: str, region: str, item: str, units: float) -> Item:
    """The line for so many units a month of a service."""
    usd, source, date = rate(target, region, item)
    return Item(name, None if usd is None else usd * units, source, date)


def check_budget(estimate: Estimate, budget: float) -> list[Finding]:
    """The findings of a monthly budget; 0 is no budget."""
    if not budget:
        return []
    known = estimate.known_monthly_usd
    if known > budget:
        dearest = max(estimate.items, key=lambda item: item.monthly_usd or 0)
        more = "at least " if estimate.unknown else ""
        larger = "a larger budget" if estimate.unknown else f"a budget of {ceil(known):,.0f}"
        return [
            Finding(
                Severity.ERROR,
                "budget",
                f"{budget:,.10g} USD a month",
                f"the plan costs {more}{known:,.0f} USD a month with all nodes running "
                f"({dearest.name}: {dearest.monthly_usd:,.0f})",
                f"use fewer nodes, cheaper capacity, or {larger}",
            )
        ]
    if estimate.unknown:
        return [
            Finding(
                Severity.WARNING,
                "budget",
                f"{budget:,.10g} USD a month",
                f"cannot be held against the whole plan: no source gives a price for {', '.join(estimate.unknown)}",
                "take fresh prices with `accelstack prices refresh`",
            )
        ]
    return []
