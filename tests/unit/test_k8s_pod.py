"""Pods: what hardens every one, and what each fabric adds."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from accelstack.contracts import ClusterPool
from accelstack.k8s import pod, quantity
from accelstack.k8s.pod import Container, PodArgs, container, image_problem, pod_template, standard, store_parts
from accelstack.k8s.pod_fabric import joined, objects, whole_node

from tests.unit.k8s_pools import planned, resolved

IMAGE = f"registry.example/workloads@sha256:{'a' * 64}"
DAEMON = f"registry.example/daemon@sha256:{'b' * 64}"
FABRICS: dict[str, dict[str, Any]] = {
    "efa": {"target": "aws", "accelerator": "H100:8"},
    "tcpx": {"target": "gcp", "accelerator": "H100:8"},
    "tcpxo": {"target": "gcp", "accelerator": "H100:8", "machine": "a3-megagpu-8g"},
    "roce": {"target": "gcp", "accelerator": "B200:8", "capacity": "spot"},
    "roce-metal": {
        "target": "gcp",
        "accelerator": "GB300:4",
        "capacity": "reservation",
        "reservation": "projects/p/reservations/r",
    },
    "infiniband": {"target": "azure", "accelerator": "H100:8"},
    "none": {"target": "aws", "accelerator": "cpu:4"},
}


def program(**more: Any) -> Container:
    return {"name": "program", "image": IMAGE, "command": ["python"], "cpu": "2", "memory": "64Gi", **more}


def on(pool: ClusterPool, *containers: Container, **more: Any) -> PodArgs:
    return {"containers": list(containers), "pool": pool, "service_account": "workload", **more}


def joined_pod(fabric: str) -> tuple[ClusterPool, dict[str, Any]]:
    pool = planned(**FABRICS[fabric])
    assert pool["fabric"] == fabric
    whole = program(cpu="100", memory=whole_node(pool)["memory"])
    return pool, resolved(lambda: pod_template(joined(on(pool, whole), "job", DAEMON)))


class TestEveryPod:
    def spec(self, **more: Any) -> dict[str, Any]:
        return pod_template(on(planned(**FABRICS["efa"]), program(**more)))["spec"]

    def test_is_within_the_restricted_standard(self) -> None:
        spec = self.spec()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 10000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        (made,) = spec["containers"]
        assert made["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_asks_for_what_it_may_have(self) -> None:
        (made,) = self.spec(resources={"nvidia.com/gpu": "8"})["containers"]
        asked = {"cpu": "2", "memory": "64Gi", "nvidia.com/gpu": "8"}
        assert made["resources"] == {"requests": asked, "limits": asked}

    def test_may_have_more_cores_than_it_asks_for(self) -> None:
        (made,) = self.spec(cpu_limit="4")["containers"]
        assert (made["resources"]["requests"]["cpu"], made["resources"]["limits"]["cpu"]) == ("2", "4")

    def test_has_a_place_to_write_and_one_to_call_home(self) -> None:
        spec = self.spec()
        assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]
        assert {"name": "tmp", "mountPath": "/tmp"} in spec["containers"][0]["volumeMounts"]  # noqa: S108
        assert {"name": "HOME", "value": "/tmp"} in spec["containers"][0]["env"]  # noqa: S108

    def test_runs_on_its_pool_alone(self) -> None:
        spec = self.spec()
        assert spec["nodeSelector"] == {"accelstack/pool": "gpu"}
        assert spec["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
        ]

    def test_sidecars_start_first_and_stay(self) -> None:
        pool = planned(**FABRICS["efa"])
        more = {"sidecars": [program(name="side")], "init_containers": [program(name="step")]}
        before = pod_template(on(pool, program(), **more))["spec"]["initContainers"]
        assert [(each["name"], each.get("restartPolicy")) for each in before] == [("side", "Always"), ("step", None)]

    def test_shared_memory_must_leave_room_in_the_memory_it_counts_into(self) -> None:
        pool = planned(**FABRICS["efa"])
        spec = pod_template(on(pool, program(memory="32Gi"), shared_memory="16Gi"))["spec"]
        assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in spec["volumes"]
        with pytest.raises(ValueError, match="program has 16Gi of memory and /dev/shm, which counts into it, 16Gi"):
            pod_template(on(pool, program(memory="16Gi"), shared_memory="16Gi"))

    def test_one_with_a_capability_runs_as_root_with_nothing_else(self) -> None:
        made = container(program(capabilities=["IPC_LOCK"]))["securityContext"]
        assert (made["runAsUser"], made["runAsNonRoot"]) == (0, False)
        assert made["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
        assert made["allowPrivilegeEscalation"] is False


class TestQuantities:
    @pytest.mark.parametrize(
        ("given", "written"),
        [
            *(("5120Mi", "5Gi"), ("1500Mi", "1500Mi"), ("1Ki", "1Ki"), ("0.5Gi", "512Mi"), ("2048Gi", "2Ti")),
            *(("500m", "500m"), ("1000m", "1"), ("0.5", "500m"), ("2000", "2k"), ("32", "32"), ("0", "0")),
        ],
    )
    def test_are_written_as_kubernetes_writes_them(self, given: str, written: str) -> None:
        assert quantity.canonical(given) == written

    @pytest.mark.parametrize("given", ["", "lots", "1 Gi", "-1", "1GiB"])
    def test_what_is_none_is_refused(self, given: str) -> None:
        with pytest.raises(ValueError, match="is no quantity"):
            quantity.amount(given)


class TestImages:
    def test_one_by_digest_is_taken(self) -> None:
        assert image_problem(IMAGE) == ""
        assert image_problem(f"localhost:5000/a/b:1.2@sha256:{'0' * 64}") == ""

    @pytest.mark.parametrize("image", ["", "pytorch", "pytorch/pytorch:2.9", "a@sha256:123", f"a@sha256:{'G' * 64}"])
    def test_any_other_is_refused_with_the_fix(self, image: str) -> None:
        assert repr(image) in image_problem(image)
        assert "@sha256:<64 hex digits>" in image_problem(image)
        with pytest.raises(pulumi.InputPropertyError):
            pod.checked_image("image", image)


class TestStore:
    def test_identity_alone_needs_nothing(self) -> None:
        assert store_parts({"uri": "s3://ours", "environment": {"A": "b"}}) == ({"A": "b"}, [], {}, {})

    def test_a_secret_becomes_variables_and_a_claim_a_volume(self) -> None:
        access: Any = {"uri": "file:///store", "environment": {}, "secret": "keys", "claim": "data"}
        _, secrets, volumes, mounts = store_parts(access)
        assert secrets == ["keys"]
        assert volumes == {"store": {"persistentVolumeClaim": {"claimName": "data"}}}
        assert mounts == {"store": "/store"}


class TestFabrics:
    def limits(self, spec: dict[str, Any]) -> dict[str, str]:
        return spec["containers"][0]["resources"]["limits"]

    def environment(self, of: dict[str, Any]) -> dict[str, str]:
        return {each["name"]: each["value"] for each in of["env"]}

    def test_efa_is_asked_for_whole_with_huge_pages(self) -> None:
        _, made = joined_pod("efa")
        limits = self.limits(made["spec"])
        assert (limits["nvidia.com/gpu"], limits["vpc.amazonaws.com/efa"]) == ("8", "32")
        assert limits["hugepages-2Mi"] == "5Gi"
        assert made["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
        assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in made["spec"]["volumes"]

    def test_tcpxo_has_its_script_daemon_folders_and_interfaces(self) -> None:
        _, made = joined_pod("tcpxo")
        (program,) = made["spec"]["containers"]
        assert program["command"][:2] == ["bash", "-c"]
        assert program["command"][2] == 'source /usr/local/nvidia/lib64/nccl-env-profile.sh && exec "$@"'
        assert program["command"][3:] == ["bash", "python"]
        mounts = {each["mountPath"]: each for each in program["volumeMounts"]}
        assert mounts["/usr/local/nvidia/lib64"]["readOnly"] is True
        assert "readOnly" not in mounts["/dev/aperture_devices"]
        (daemon,) = made["spec"]["initContainers"]
        assert (daemon["name"], daemon["image"], daemon["restartPolicy"]) == ("tcpxo-daemon", DAEMON, "Always")
        assert daemon["command"] == ["/bin/sh", "-c", "exec /fts/entrypoint_rxdm_container.sh --num_hops=2"]
        assert daemon["securityContext"]["capabilities"]["add"] == ["NET_ADMIN", "NET_BIND_SERVICE"]
        assert {"/hostsysfs", "/hostprocsysfs", "/usr/local/nvidia"} <= {
            each["mountPath"] for each in daemon["volumeMounts"]
        }
        assert '"eth8", "network": "vpc8"' in made["metadata"]["annotations"]["networking.gke.io/interfaces"]
        assert "/dev/nvidia7" in made["metadata"]["annotations"]["devices.gke.io/container.tcpxo-daemon"]

    def test_tcpx_shares_a_socket_with_its_daemon(self) -> None:
        _, made = joined_pod("tcpx")
        (volume,) = [each["name"] for each in made["spec"]["volumes"] if each["name"].startswith("shared-")]
        for each in (made["spec"]["containers"][0], made["spec"]["initContainers"][0]):
            assert {"name": volume, "mountPath": "/run/tcpx"} in each["volumeMounts"]
        assert self.environment(made["spec"]["containers"][0])["NCCL_GPUDIRECTTCPX_CTRL_DEV"] == "eth0"

    def test_roce_has_its_settings_from_the_host(self) -> None:
        _, made = joined_pod("roce")
        assert self.environment(made["spec"]["containers"][0])["NCCL_NET"] == "gIB"
        assert "rdma-7" in made["metadata"]["annotations"]["networking.gke.io/interfaces"]
        assert "resourceClaims" not in made["spec"]

    def test_devices_and_the_nvlink_channel_are_claimed(self) -> None:
        pool, made = joined_pod("roce-metal")
        assert made["spec"]["resourceClaims"] == [
            {"name": "mrdma-google-com", "resourceClaimTemplateName": "job-mrdma-google-com"},
            {"name": "imex", "resourceClaimTemplateName": "job-imex"},
        ]
        (program,) = made["spec"]["containers"]
        assert program["resources"]["claims"] == [{"name": "mrdma-google-com"}, {"name": "imex"}]
        assert self.environment(program)["NCCL_MNNVL_ENABLE"] == "1"
        found = resolved(lambda: objects(pool, "job", "team", "train", 2))
        (request,) = found["mrdma-google-com"]["spec"]["spec"]["devices"]["requests"]
        assert (request["exactly"]["deviceClassName"], request["exactly"]["count"]) == ("mrdma.google.com", 8)
        assert found["compute-domain"]["spec"] == {
            "numNodes": 2,
            "channel": {"resourceClaimTemplate": {"name": "job-imex"}},
        }

    def test_infiniband_is_asked_for_whole(self) -> None:
        _, made = joined_pod("infiniband")
        assert self.limits(made["spec"])["rdma/ib"] == "8"

    def test_without_one_a_pod_stays_restricted(self) -> None:
        pool, made = joined_pod("none")
        assert standard(pool["pod_fabric"]) == "restricted"
        (program,) = made["spec"]["containers"]
        assert "add" not in program["securityContext"]["capabilities"]
        assert self.limits(made["spec"]).keys() == {"cpu", "memory"}
        assert all("hostPath" not in each for each in made["spec"]["volumes"])

    @pytest.mark.parametrize("fabric", [each for each in FABRICS if each != "none"])
    def test_beyond_the_restricted_standard_is_said(self, fabric: str) -> None:
        pool = planned(**FABRICS[fabric])
        assert standard(pool["pod_fabric"]) == "privileged"

    @pytest.mark.parametrize("fabric", FABRICS)
    def test_the_whole_node_fits_on_the_node(self, fabric: str) -> None:
        pool = planned(**FABRICS[fabric])
        asked = {name: quantity.amount(each) for name, each in whole_node(pool).items()}
        assert 0.5 * pool["cores"] < asked["cpu"] < pool["cores"]
        pages = sum(each for name, each in asked.items() if name.startswith("hugepages-"))
        assert 0.5 * pool["memory_gib"] * 2**30 < asked["memory"] + pages < pool["memory_gib"] * 2**30
