"""Fresh prices: what gpuhunt gives, and how it comes into plans."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import gpuhunt
import pytest
from accelstack.cli import refreshing
from accelstack.plan import machines, tables
from accelstack.plan.plan import plan
from gpuhunt import CatalogItem


def item(provider: str, name: str, location: str, price: float, gpus: int, spot: bool) -> CatalogItem:
    vendor = gpuhunt.AcceleratorVendor.NVIDIA if gpus else None
    return CatalogItem(provider, name, location, price, 1, 1, gpus, "x", 1, spot, None, vendor)


ITEMS = [
    item("aws", "p5.48xlarge", "us-east-1", 50.0, 8, False),
    item("aws", "p5.48xlarge", "us-east-1", 20.0, 8, True),
    item("gcp", "a2-highgpu-8g", "us-central1-a", 30.0, 8, False),
    item("gcp", "a2-highgpu-8g", "us-central1-b", 31.0, 8, False),
    item("gcp", "a2-highgpu-8g", "us-central1-b", 99.0, 4, False),
    item("aws", "nothing.large", "us-east-1", 1.0, 0, False),
]


def test_rows_are_of_known_machines_by_region_the_dearest_zone_counting() -> None:
    rows = refreshing.rows(ITEMS, "2026-12-01")
    assert [(row["machine"], row["region"], row["on_demand"], row["spot"]) for row in rows] == [
        ("p5.48xlarge", "us-east-1", 50.0, 20.0),
        ("a2-highgpu-8g", "us-central1", 31.0, None),
    ]


@pytest.fixture
def cleared() -> Iterator[Callable[[], None]]:
    """Forgets the tables that were read, now and when the test is over."""

    def clear() -> None:
        tables.fresh_prices.cache_clear()
        machines.offers.cache_clear()

    yield clear
    clear()


def test_fresh_prices_stand_in_for_the_bundled_ones_with_their_own_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleared: Callable[[], None]
) -> None:
    file = tmp_path / "prices.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, refreshing.COLUMNS)
        writer.writeheader()
        writer.writerows(refreshing.rows(ITEMS, "2026-12-01"))
    monkeypatch.setenv("ACCELSTACK_PRICES", str(file))
    cleared()
    asked = {"target": "aws", "region": "us-east-1", "accelerator": "H100:8", "nodes": 2, "zones": "use1-az1"}
    gpu = plan(asked).pools[0]
    assert gpu.hourly_usd == 100.0
    assert (gpu.cost.date, gpu.cost.source) == ("2026-12-01", "gpuhunt")


def test_without_the_internet_nothing_is_written_and_the_reason_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(gpuhunt.Catalog, "query", offline)
    assert refreshing.refresh(tmp_path / "prices.csv") == 1
    assert capsys.readouterr().err == "no fresh prices could be had, so the bundled ones stay in use: no network\n"
    assert not list(tmp_path.iterdir())
