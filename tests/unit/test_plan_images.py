"""Where images and charts lie in a mirror."""

import pytest
from accelstack.plan.addons import addons
from accelstack.plan.images import Image, mirrored, mirrored_chart, parse
from hypothesis import given
from hypothesis import strategies as st

MIRROR = "harbor.example.com/mirror"
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("postgres", Image("docker.io", "library/postgres")),
        ("grafana/grafana:12.1", Image("docker.io", "grafana/grafana", "12.1")),
        ("index.docker.io/busybox", Image("docker.io", "library/busybox")),
        ("registry.k8s.io/kueue/kueue:v0.18.3", Image("registry.k8s.io", "kueue/kueue", "v0.18.3")),
        ("localhost:5000/a/b", Image("localhost:5000", "a/b")),
        ("localhost/a", Image("localhost", "a")),
        (f"quay.io/a__b/c-d:v1@{DIGEST}", Image("quay.io", "a__b/c-d", "v1", DIGEST)),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(reference: str, image: Image) -> None:
    assert parse(reference) == image


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("", "a name is lowercase"),
        ("quay.io/Kueue/kueue", "a name is lowercase"),
        ("quay.io/a//b", "a name is lowercase"),
        ("quay.io/" + "a" * 256, "up to 255 characters"),
        ("quay.io/a:", "a tag is"),
        ("quay.io/a:b c", "a tag is"),
        ("quay.io/a@sha256:12", "a digest is"),
        ("quay.io/a@", "a digest is"),
        ("-quay.io/a", "a registry is"),
        ("https://quay.io/a", "a registry is"),
    ],
)
def test_what_is_no_reference_is_refused_by_the_rule_it_breaks(reference: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse(reference)


@pytest.mark.parametrize(
    ("reference", "there"),
    [
        ("registry.k8s.io/kueue/kueue:v1", "registry.k8s.io/kueue/kueue:v1"),
        ("postgres:18", "docker.io/library/postgres:18"),
        (f"quay.io/a/b:v1@{DIGEST}", f"quay.io/a/b:v1@{DIGEST}"),
        ("build.example.com:8443/a:1", "build.example.com_8443/a:1"),
        ("harbor.example.com/mirrored/a:1", "harbor.example.com/mirrored/a:1"),
    ],
)
def test_a_mirror_has_an_image_under_its_whole_name(reference: str, there: str) -> None:
    assert mirrored(reference, MIRROR) == f"{MIRROR}/{there}"
    assert mirrored(reference, f"oci://{MIRROR}/") == f"{MIRROR}/{there}"


def test_without_a_mirror_nothing_changes() -> None:
    assert mirrored("postgres:18", "") == "postgres:18"
    assert mirrored_chart("keda", "https://kedacore.github.io/charts", "") == "keda"


@pytest.mark.parametrize("mirror", ["harbor", "https://harbor.example.com", "harbor.example.com/A", "harbor.io/a:1"])
def test_what_is_no_mirror_is_refused(mirror: str) -> None:
    with pytest.raises(ValueError, match="a mirror is a registry"):
        mirrored("postgres:18", mirror)


PART = st.from_regex(r"[a-z0-9]{1,5}([._-][a-z0-9]{1,5})?", fullmatch=True)
HOSTS = st.sampled_from(["docker.io", "quay.io", "localhost:5000", "registry.k8s.io"])
IMAGES = st.builds(
    Image,
    HOSTS,
    st.lists(PART, min_size=2, max_size=3).map("/".join),
    st.sampled_from(["", "v1", "1.2"]),
    st.sampled_from(["", DIGEST]),
)


@given(IMAGES, IMAGES)
def test_references_survive_and_a_mirror_keeps_them_apart(one: Image, other: Image) -> None:
    assert parse(str(one)) == one
    there = mirrored(str(one), MIRROR)
    assert mirrored(there, MIRROR) == there
    assert (there == mirrored(str(other), MIRROR)) == (one == other)


def test_a_chart_lies_under_the_address_of_its_repository() -> None:
    assert mirrored_chart("oci://registry.k8s.io/kueue/charts/kueue", "", MIRROR) == (
        f"oci://{MIRROR}/registry.k8s.io/kueue/charts/kueue"
    )
    assert mirrored_chart("keda", "https://kedacore.github.io/charts/", MIRROR) == (
        f"oci://{MIRROR}/kedacore.github.io/charts/keda"
    )


def test_a_chart_without_a_repository_is_refused() -> None:
    with pytest.raises(ValueError, match="a name with the URL of its repository"):
        mirrored_chart("keda", "", MIRROR)


def test_every_chart_of_the_table_has_a_place_of_its_own_in_a_mirror() -> None:
    charts = [each for each in addons().values() if each.chart]
    assert len({mirrored_chart(each.chart, each.repository, MIRROR) for each in charts}) == len(charts)
