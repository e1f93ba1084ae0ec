"""Fresh prices: what gpuhunt gives, and how it comes into plans."""

import csv
from collections.abc import Iterator
from pathlib import Path

import gpuhunt
import pytest
from accelstack.cli import refreshing
from accelstack.cli.main import app
from accelstack.plan import machines
from accelstack.plan.plan import plan
from gpuhunt import CatalogItem
from typer.testing import CliRunner


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
def prices(tmp_path: Path) -> Iterator[Path]:
    """A file of fresh prices, forgotten when the test is over."""
    file = tmp_path / "prices.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, machines.PRICE_COLUMNS)
        writer.writeheader()
        writer.writerows(refreshing.rows(ITEMS, "2026-12-01"))
    yield file
    machines.use_prices(None)


def test_fresh_prices_stand_in_for_the_bundled_ones_with_their_own_date(prices: Path) -> None:
    asked = {"target": "aws", "region": "us-east-1", "accelerator": "H100:8", "nodes": 2, "zones": "use1-az1"}
    bundled = plan(asked).pools[0]
    machines.use_prices(prices)
    gpu = plan(asked).pools[0]
    assert gpu.hourly_usd == 100.0 != bundled.hourly_usd
    assert (gpu.cost.date, gpu.cost.source) == ("2026-12-01", "gpuhunt")


def test_a_price_of_a_machine_that_is_not_offered_there_changes_nothing(prices: Path) -> None:
    prices.write_text(prices.read_text().replace("us-east-1", "mars-1"))
    machines.use_prices(prices)
    assert "mars-1" not in machines.offers("aws")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("50.0", "nan"), "line 2: on_demand: 'nan' is no price above 0"),
        (("50.0", "-5"), "'-5' is no price above 0"),
        (("50.0", "0.0"), "'0.0' is no price above 0"),
        (("spot", "sport"), "line 2 has no spot"),
    ],
)
def test_a_file_that_holds_no_prices_is_refused_with_the_line_and_the_fix(
    prices: Path, change: tuple[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices.write_text(prices.read_text().replace(*change))
    with pytest.raises(ValueError, match="accelstack prices refresh") as caught:
        machines.use_prices(prices)
    assert reason in str(caught.value)
    monkeypatch.setenv("ACCELSTACK_PRICES", str(prices))
    assert CliRunner().invoke(app, ["prices"]).exit_code == 2


def test_a_file_that_is_missing_is_refused_but_refreshing_does_not_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.csv"
    monkeypatch.setenv("ACCELSTACK_PRICES", str(file))
    monkeypatch.setattr(gpuhunt.Catalog, "query", lambda *_, **__: ITEMS)
    assert CliRunner().invoke(app, ["plan", "--target", "aws"]).exit_code == 2
    assert CliRunner().invoke(app, ["prices", "refresh", "--to", str(file)]).exit_code == 0
    machines.use_prices(file)
    price = machines.offers("aws")["us-east-1"]["p5.48xlarge"].price("spot")
    assert price == machines.Price(20.0, "gpuhunt", price.date if price else "")
    machines.use_prices(None)
    assert CliRunner().invoke(app, ["prices", "refresh", "--to", str(tmp_path / "no" / "x.csv")]).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_without_the_internet_nothing_is_written_and_the_reason_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(gpuhunt.Catalog, "query", offline)
    assert refreshing.refresh(tmp_path / "prices.csv") == 1
    assert capsys.readouterr().err == "no fresh prices could be had, so the bundled ones stay in use: no network\n"
    assert not list(tmp_path.iterdir())
