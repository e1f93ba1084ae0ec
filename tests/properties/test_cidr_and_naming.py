"""Addresses and names, for any request."""

import re
from ipaddress import IPv4Network
from itertools import combinations

from accelstack.plan import cidr, naming, tables
from accelstack.plan.machines import CLOUDS
from hypothesis import given
from hypothesis import strategies as st

KINDS = [(row["target"], row["kind"]) for row in tables.rows("names")]
WANTS = st.lists(
    st.builds(cidr.Want, st.text("abc", min_size=1, max_size=3), st.just(""), st.integers(1, 5000)),
    min_size=1,
    max_size=12,
)


@given(st.sampled_from(CLOUDS), st.integers(16, 24), WANTS)
def test_subnets_never_overlap_and_always_suffice_or_the_block_is_told_to_be_too_small(
    target: str, prefix: int, wants: list[cidr.Want]
) -> None:
    block = IPv4Network(f"10.0.0.0/{prefix}")
    subnets, findings = cidr.carve("cidr", block, wants, target)
    if findings:
        assert not subnets
        assert sum(want.addresses + cidr.RESERVED[target] for want in wants) * 2 > block.num_addresses
        larger = re.search(r"use a /(\d+)", findings[0].fix)
        if larger:
            again, none = cidr.carve("cidr", IPv4Network(f"10.0.0.0/{larger[1]}"), wants, target)
            assert len(again) == len(wants)
            assert not none
        return
    networks = [IPv4Network(subnet.cidr) for subnet in subnets]
    assert all(network.subnet_of(block) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    for want, subnet, network in zip(wants, subnets, networks, strict=True):
        assert want.addresses <= subnet.addresses == network.num_addresses - cidr.RESERVED[target]


@given(st.sampled_from(KINDS), st.lists(st.text(max_size=80), min_size=1, max_size=4), st.text(max_size=20))
def test_a_name_is_always_one_that_the_cloud_takes_and_always_the_same(
    kind: tuple[str, str], words: list[str], salt: str
) -> None:
    name = naming.physical(*kind, *words, salt=salt)
    assert naming.check(*kind, name, "name") is None
    assert naming.physical(*kind, *words, salt=salt) == name


@given(st.sampled_from(KINDS), st.data())
def test_shortened_names_of_different_words_differ(kind: tuple[str, str], data: st.DataObject) -> None:
    longer = st.text("ab", min_size=naming.rule(*kind).most + 1, max_size=200)
    one, other = data.draw(st.lists(longer, min_size=2, max_size=2, unique=True))
    assert naming.physical(*kind, one) != naming.physical(*kind, other)
