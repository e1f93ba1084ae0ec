"""Queues: what of the pools a team has, what it may borrow, and what is refused."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from accelstack.contracts import ClusterPool
from accelstack.k8s import addon_values
from accelstack.k8s.gang import levels
from accelstack.k8s.pod_fabric import objects, whole_node
from accelstack.k8s.quantity import amount
from accelstack.k8s.queue import Queues, Team, portioned
from accelstack.k8s.queue_manifests import covered, flavor_name, manifests, offered, step
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.nodes import cpu_pool, gpu_pool
from tests.unit.k8s_engine import run
from tests.unit.k8s_pools import planned, resolved
from tests.unit.test_k8s_pod import FABRICS, joined_pod

GPU = gpu_pool(nodes=4, min_nodes=4)
CPU = cpu_pool(nodes=3)


def team(name: str = "research", **more: Any) -> Team:
    return {"name": name, "namespace": f"{name}-jobs", **more}


def made(pools: list[ClusterPool], *teams: Team) -> dict[str, dict[str, Any]]:
    """All manifests by what they are."""
    return {key: each for part in manifests("lab", pools, portioned(teams)) for key, each in part.items()}


def quotas(manifest: dict[str, Any], limit: str = "nominalQuota") -> dict[str, dict[str, str]]:
    """By flavor and resource."""
    groups = manifest["spec"].get("resourceGroups", [])
    return {
        flavor["name"]: {each["name"]: each[limit] for each in flavor["resources"] if limit in each}
        for group in groups
        for flavor in group["flavors"]
    }


class TestQuotas:
    def test_a_team_alone_has_all_that_pods_on_whole_nodes_ask_for(self) -> None:
        has = quotas(made([GPU, CPU], team())["cluster-research"])
        for pool in (GPU, CPU):
            for resource, each in whole_node(pool).items():
                asked = pool["nodes"] * amount(each)
                assert amount(has[flavor_name("lab", pool)][resource]) == pytest.approx(asked)
        assert has["lab-cpu"]["nvidia.com/gpu"] == "0"

    @pytest.mark.parametrize("fabric", FABRICS)
    def test_every_resource_and_claim_of_a_job_is_covered(self, fabric: str) -> None:
        pool, pod = joined_pod(fabric)
        asked: dict[str, float] = {}
        for each in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            for resource, quantity in each["resources"]["requests"].items():
                asked[resource] = asked.get(resource, 0) + amount(quantity)
        for manifest in resolved(lambda: objects(pool, "job", "n", "job", 2)).values():
            for request in manifest["spec"].get("spec", {}).get("devices", {}).get("requests", []):
                asked[request["exactly"]["deviceClassName"]] = request["exactly"]["count"]
        has = quotas(made([pool], team())["cluster-research"])[flavor_name("lab", pool)]
        assert asked.keys() - {"cpu"} <= has.keys()
        # the pod of `joined_pod` asks for other cores than a training job
        assert all(amount(has[resource]) >= pool["nodes"] * asked[resource] for resource in asked.keys() - {"cpu"})

    @pytest.mark.parametrize("fabric", FABRICS)
    def test_kueue_counts_what_is_claimed(self, fabric: str) -> None:
        pool = planned(**FABRICS[fabric])
        claimed = offered(pool).keys() - whole_node(pool).keys()
        mapped = addon_values.kueue_configuration()["resources"]["deviceClassMappings"]
        assert claimed <= {each["name"] for each in mapped}

    def test_every_flavor_lists_what_its_group_covers_in_that_order(self) -> None:
        pools: list[ClusterPool] = [{**planned(**each), "name": name} for name, each in FABRICS.items()]
        found = made(pools, team("a", share=0.3), team("b"))
        for key in ("cluster-a", "cluster-b", "cohort"):
            (group,) = found[key]["spec"]["resourceGroups"]
            for flavor in group["flavors"]:
                assert [each["name"] for each in flavor["resources"]] == group["coveredResources"]

    @given(
        nodes=st.integers(1, 64),
        shares=st.lists(st.none() | st.integers(1, 100).map(lambda percent: percent / 100), min_size=1, max_size=6),
    )
    def test_teams_and_cohort_have_the_pool_between_them(self, nodes: int, shares: list[float | None]) -> None:
        if sum(share or 0 for share in shares) > 1:
            shares = [None for _ in shares]
        teams = [team(f"t{index}", **({"share": each} if each else {})) for index, each in enumerate(shares)]
        pool = gpu_pool(nodes=nodes)
        found = made([pool], *teams)
        parts = [found["cohort"], *(found[f"cluster-{each['name']}"] for each in teams)]
        for resource in covered([pool]):
            owned = [quotas(part).get("lab-gpu", {}).get(resource, "0") for part in parts]
            unit = step(resource)
            assert sum(round(amount(each) / float(unit)) for each in owned) == offered(pool)[resource]
            if resource == "nvidia.com/gpu":
                assert all(float(amount(each)).is_integer() for each in owned)

    def test_shares_are_as_written(self) -> None:
        found = made([gpu_pool(nodes=10)], team("a", share=0.1), team("b", share=0.2), team("c", share=0.7))
        has = [quotas(found[f"cluster-{each}"])["lab-gpu"]["nvidia.com/gpu"] for each in "abc"]
        assert has == ["8", "16", "56"]
        assert "resourceGroups" not in found["cohort"]["spec"]

    def test_borrowing_and_lending_are_open_unless_shut(self) -> None:
        found = made([CPU], team("a"), team("b", borrow=False), team("c", lend=False, weight=2.5))
        assert quotas(found["cluster-a"], "borrowingLimit") == {"lab-cpu": {}}
        assert quotas(found["cluster-a"], "lendingLimit") == {"lab-cpu": {}}
        assert quotas(found["cluster-b"], "borrowingLimit") == {"lab-cpu": {"cpu": "0", "memory": "0"}}
        assert quotas(found["cluster-c"], "lendingLimit") == {"lab-cpu": {"cpu": "0", "memory": "0"}}
        assert found["cluster-a"]["spec"]["fairSharing"] == {"weight": "1"}
        assert found["cluster-c"]["spec"]["fairSharing"] == {"weight": "2500m"}
        assert {each["spec"]["cohortName"] for key, each in found.items() if key.startswith("cluster-")} == {"lab"}


class TestFlavors:
    def test_a_flavor_is_the_pools_nodes(self) -> None:
        spec = made([GPU, CPU], team())["flavor-gpu"]["spec"]
        assert spec["nodeLabels"] == GPU["labels"]
        assert spec["nodeTaints"] == GPU["taints"]
        assert "tolerations" not in spec

    def test_only_pools_whose_nodes_are_there_have_a_topology(self) -> None:
        found = made([GPU, CPU], team())
        assert [each["nodeLabel"] for each in found["topology-gpu"]["spec"]["levels"]] == levels(GPU)
        assert found["flavor-gpu"]["spec"]["topologyName"] == found["topology-gpu"]["metadata"]["name"]
        assert "topology-cpu" not in found
        assert "topologyName" not in found["flavor-cpu"]["spec"]

    def test_what_can_never_change_makes_another_flavor(self) -> None:
        names = {
            flavor_name("lab", pool)
            for pool in (GPU, {**GPU, "labels": {"other": "label"}}, {**GPU, "topology": GPU["topology"][1:]})
        }
        assert len(names) == 3
        assert flavor_name("lab", GPU) == flavor_name("lab", {**GPU, "nodes": 3, "min_nodes": 3})

    def test_what_is_paid_for_comes_first(self) -> None:
        kinds = ("spot", "flex_start", "on_demand", "reservation", "block")
        found = made([cpu_pool(each.replace("_", "-"), capacity=each) for each in kinds], team())
        order = [*quotas(found["cluster-research"])]
        assert order == ["lab-reservation", "lab-block", "lab-on-demand", "lab-spot", "lab-flex-start"]

    def test_jobs_for_nodes_that_start_at_once_or_not_at_all_are_checked_first(self) -> None:
        pool = gpu_pool("dws", capacity="flex_start")
        found = made([pool, CPU], team())
        (check,) = found["cluster-research"]["spec"]["admissionChecksStrategy"]["admissionChecks"]
        assert check == {"name": found["flex-start"]["metadata"]["name"], "onFlavors": ["lab-dws"]}
        config = found["flex-start-config"]
        assert config["spec"]["managedResources"] == ["nvidia.com/gpu"]
        assert found["flex-start"]["spec"]["parameters"]["name"] == config["metadata"]["name"]
        assert "flex-start" not in made([GPU, CPU], team())


class TestQueues:
    def test_makes_all_under_its_own_name_in_an_order_that_can_be_undone(self) -> None:
        def program() -> Any:
            queues = Queues("lab", {"pools": [GPU, CPU], "teams": [team(), team("ops")], "ready": "add-ons"})
            return [queues.queues, queues.priorities]

        cluster, (queues, priorities) = run(program)
        assert queues == {"research": "research", "ops": "ops"}
        assert priorities == {each: f"lab-{each}" for each in ("low", "normal", "high")}
        objects = [(kind, inputs) for kind, name, inputs in cluster.made if "kind" in inputs]
        assert all(name.startswith("lab-") for kind, name, inputs in cluster.made if "kind" in inputs)
        order = ["WorkloadPriorityClass", "Topology", "ResourceFlavor", "Cohort", "ClusterQueue", "LocalQueue"]
        assert list(dict.fromkeys(kind for kind, _ in objects)) == order
        first = [inputs for kind, inputs in objects if kind in order[:2]]
        assert all(each["metadata"]["annotations"]["accelstack/ready"] == "add-ons" for each in first)
        assert all(each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "lab" for _, each in objects)

    def test_a_queue_is_for_its_teams_namespace_alone(self) -> None:
        found = made([CPU], team())
        selector = found["cluster-research"]["spec"]["namespaceSelector"]
        assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "research-jobs"}}
        local = found["local-research"]
        assert (local["metadata"]["namespace"], local["metadata"]["name"]) == ("research-jobs", "research")
        assert local["spec"]["clusterQueue"] == found["cluster-research"]["metadata"]["name"]

    def test_priorities_are_apart(self) -> None:
        found = made([CPU], team())
        assert [found[f"priority-{each}"]["value"] for each in ("low", "normal", "high")] == [-1000, 0, 1000]

    @pytest.mark.parametrize(
        ("path", "said", "given"),
        [
            ("pools", "is empty", {"pools": []}),
            ("pools[1].name", "'cpu' is given twice", {"pools": [CPU, CPU]}),
            ("teams", "is empty", {"teams": []}),
            ("teams[1].name", "'a' is given twice", {"teams": [team("a"), team("a")]}),
            ("teams[0].name", "small letters", {"teams": [team("Ops")]}),
            ("teams[1].share", "above 0", {"teams": [team("a"), team("b", share=0)]}),
            ("teams[0].share", "up to 1", {"teams": [team("a", share=50)]}),
            ("teams[0].share", "'half' is no number", {"teams": [team("a", share="half")]}),
            ("teams", "shares of 0.6 [+] 0.6 are more", {"teams": [team("a", share=0.6), team("b", share=0.6)]}),
            ("teams[1].share", "may not borrow", {"teams": [team("a", share=1), team("b", borrow=False)]}),
            ("teams[0].weight", "never borrow", {"teams": [team("a", weight=0)]}),
        ],
    )
    def test_what_cannot_be_is_refused(self, path: str, said: str, given: dict[str, Any]) -> None:
        args: Any = {"pools": [CPU], "teams": [team()], **given}
        with pytest.raises(pulumi.InputPropertyError, match=said) as caught:
            Queues("lab", args)
        assert caught.value.property_path == path

    def test_a_name_that_objects_cannot_have_is_refused(self) -> None:
        for name in ("Lab", "l" * 60):
            with pytest.raises(pulumi.InputPropertyError) as caught:
                Queues(name, {"pools": [CPU], "teams": [team()]})
            assert caught.value.property_path == "name"
