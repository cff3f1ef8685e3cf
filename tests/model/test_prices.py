"""A price list: what it says of a slice, and every mistake in it as one sentence with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.model import accelerators, prices

GOOD = """\
currency: EUR
date: "2026-10-01"
url: https://example.org/our-contract
prices:
  - {family: v2, region: us-central1, up_to_chips: 4, on_demand: "1.10"}
  - {family: v2, region: us-central1, above_chips: 4, on_demand: "1.50"}
  - {family: v5litepod, region: us-central1, on_demand: "1.20", spot: "0.244926"}
  - {family: v5p, region: us-east5, on_demand: "4.2"}
"""


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "ours.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_slice_costs_what_its_chips_do(tmp_path: Path) -> None:
    found = prices.read(written(tmp_path, GOOD))
    assert (found.currency, found.date) == ("EUR", "2026-10-01")
    assert found.rates("v5litepod-16", "on-demand") == {"us-central1": Decimal("19.20")}
    assert found.rates("v5litepod-16", "spot") == {"us-central1": Decimal("3.918816")}
    assert found.rates("v5p-8", "on-demand") == {"us-east5": Decimal("16.8")}  # eight cores are four chips


def test_a_date_needs_no_quotation_marks(tmp_path: Path) -> None:
    assert prices.read(written(tmp_path, changed('"2026-10-01"', "2026-10-01"))).date == "2026-10-01"


def test_a_slice_and_a_single_host_may_have_prices_of_their_own(tmp_path: Path) -> None:
    found = prices.read(written(tmp_path, GOOD))
    assert found.rates("v2-8", "on-demand") == {"us-central1": 4 * Decimal("1.10")}
    assert found.rates("v2-32", "on-demand") == {"us-central1": 16 * Decimal("1.50")}


def test_what_is_not_listed_has_no_price(tmp_path: Path) -> None:
    found = prices.read(written(tmp_path, GOOD))
    assert found.rates("v5p-8", "spot") == {}
    assert found.rates("v6e-1", "on-demand") == {}
    assert found.rates("v5litepod-1", "reserved") == {}
    with pytest.raises(Permanent, match="There is no TPU accelerator type 'v99-1'"):
        found.rates("v99-1", "on-demand")


def test_the_list_that_comes_with_the_project() -> None:
    found = prices.read("")
    assert (found.currency, found.url) == ("USD", "https://cloud.google.com/tpu/pricing")
    assert {line.family for line in found.prices} == set(accelerators.FAMILIES)
    assert found.rates("v5litepod-1", "on-demand")["us-central1"] == Decimal("1.20")
    assert found.rates("v6e-1", "on-demand")["us-east5"] == Decimal("2.70")
    assert found.rates("v5p-8", "on-demand")["us-east5"] == 4 * Decimal("4.20")
    assert found.rates("v4-8", "on-demand") == {"us-central2": 4 * Decimal("3.22")}
    # The list has no SKU for Spot there, nor for a v3 slice of several hosts in us-east1.
    assert "southamerica-west1" not in found.rates("v6e-1", "spot")
    assert "us-east1" not in found.rates("v3-32", "on-demand")
    for line in found.prices:
        if line.spot is not None and line.on_demand is not None:
            assert Decimal(line.spot) < Decimal(line.on_demand), line


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "must be a mapping with at least currency, date, url and prices"),
    "not YAML": ("currency: [", "is not YAML"),
    "not text": (b"\xff\xfe\x00", "is not YAML"),
    "no lines": (GOOD.partition("prices:")[0] + "prices: []\n", r"at prices \(line 4\)"),
    "a float": (changed('"4.2"', "4.2"), r"at prices\.3\.on_demand \(line 8\): .*string"),
    "sixty to the power of one": (changed('"4.2"', "1:30"), r"at prices\.3\.on_demand \(line 8\)"),
    "not a number": (changed('"4.2"', ".nan"), "JSON cannot"),
    "text that is no number": (changed('"4.2"', '"NaN"'), r"at prices\.3\.on_demand \(line 8\)"),
    "an exponent": (changed('"4.2"', '"1e9"'), r"at prices\.3\.on_demand \(line 8\)"),
    "negative": (changed('"4.2"', '"-4.2"'), r"at prices\.3\.on_demand \(line 8\)"),
    "a sign": (changed('"4.2"', '"+4.2"'), r"at prices\.3\.on_demand \(line 8\)"),
    "a comma": (changed('"4.2"', '"4,2"'), r"at prices\.3\.on_demand \(line 8\)"),
    "a currency in it": (changed('"4.2"', '"$4.2"'), r"at prices\.3\.on_demand \(line 8\)"),
    "a line feed": (changed('"4.2"', '"4.2\\n"'), r"at prices\.3\.on_demand \(line 8\)"),
    "Arabic digits": (changed('"4.2"', '"٤.٢"'), r"at prices\.3\.on_demand \(line 8\)"),
    "no end": (changed('"4.2"', f'"{"9" * 5000}"'), r"at prices\.3\.on_demand \(line 8\)"),
    "no price": (changed(', on_demand: "4.2"', ""), r"at prices\.3 \(line 8\): this line has no price"),
    "v5e": (
        changed("family: v5litepod", "family: v5e"),
        r"prices\.2\.family \(line 7\): there is no such family",
    ),
    "a zone": (changed("us-east5", "us-east5-a"), r"at prices\.3\.region \(line 8\)"),
    "twice": (
        GOOD + '  - {family: v5p, region: us-east5, spot: "2"}\n',
        "two lines give a price for v5p in us-east5",
    ),
    "overlapping": (
        changed("above_chips: 4", "above_chips: 3"),
        "two lines give a price for v2 in us-central1",
    ),
    "no chips at all": (changed("above_chips: 4", "above_chips: 100000"), r"prices\.1 \(line 6\): no slice"),
    "no chip": (changed("up_to_chips: 4", "up_to_chips: 0"), r"at prices\.0\.up_to_chips \(line 5\)"),
    "a date that is none": (changed("2026-10-01", "2026-02-30"), r"at date \(line 2\): a date is like"),
    "a date of another form": (changed("2026-10-01", "20261001"), r"at date \(line 2\): a date is like"),
    "a currency that is none": (changed("EUR", "euro"), r"at currency \(line 1\)"),
    "no source": (changed("url: https://example.org/our-contract\n", ""), "the field url is missing"),
    "a source without TLS": (changed("https://example", "http://example"), r"at url \(line 3\)"),
    "an unknown field": (GOOD + "discount: 3\n", r"discount \(line 9\): there is no such field"),
    "a key twice": (GOOD + "currency: USD\n", "the key 'currency' stands twice"),
    "an alias": (changed('"4.2"', "&a x").replace("us-central1, on", "*a, on"), "is not YAML"),
    "a control character": (changed("EUR", "\x1b[31m"), "is not YAML"),
    "too large": (GOOD + "#" * 300_000, "is too large"),
    "nested": ("currency: " + "[" * 5000, "(nested too deeply|is not YAML)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_sentence(case: str, tmp_path: Path) -> None:
    text, said = BAD[case]
    with pytest.raises(Permanent, match=said) as caught:
        prices.read(written(tmp_path, text))
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert len(sentence) < 1000


@pytest.mark.parametrize("path", ["/nowhere/prices.yaml", ".", "a\x00b"])
def test_a_path_without_a_list(path: str) -> None:
    with pytest.raises(Permanent, match=r"The price list .* cannot be read"):
        prices.read(path)
