"""Backups: when, of what, and where to."""

from __future__ import annotations

import re
from typing import Any, cast

import pulumi
import pytest
from accelstack.k8s.backup import Backup, BackupArgs
from accelstack.k8s.cron import cron_problem

from tests.unit.k8s_engine import Cluster, run
from tests.unit.k8s_secrets import unwrapped


def args(**own: Any) -> BackupArgs:
    return cast(BackupArgs, {"namespace": "velero", "bucket": "s3://backups/one/two", "namespaces": ["models"], **own})


def made(**own: Any) -> tuple[Cluster, Any]:
    def program() -> Any:
        backup = Backup("nightly", args(**own))
        return pulumi.Output.all(backup.location, backup.schedule, backup.restore)

    return run(program)


class TestBucket:
    def spec(self, **own: Any) -> dict[str, Any]:
        return made(**own)[0].objects("BackupStorageLocation")[0]["spec"]

    def test_is_one_of_aws_unless_it_has_an_endpoint(self) -> None:
        spec = self.spec(region="eu-west-1")
        assert spec["provider"] == "aws"
        assert spec["objectStorage"] == {"bucket": "backups", "prefix": "one/two"}
        assert spec["config"] == {"region": "eu-west-1"}

    def test_of_ones_own_is_found_by_its_path(self) -> None:
        config = self.spec(endpoint="https://objects.example:9000")["config"]
        assert config["s3Url"] == "https://objects.example:9000"
        assert (config["s3ForcePathStyle"], config["region"]) == ("true", "us-east-1")

    def test_of_google_is_found_by_its_name(self) -> None:
        spec = self.spec(bucket="gs://backups")
        assert (spec["provider"], spec["objectStorage"]) == ("gcp", {"bucket": "backups", "prefix": ""})
        assert "config" not in spec

    def test_is_opened_with_credentials_that_stand_in_a_secret(self) -> None:
        cluster, _ = made(credentials="[default]\naws_access_key_id=ours")
        (secret,) = cluster.objects("Secret")
        (location,) = cluster.objects("BackupStorageLocation")
        assert location["spec"]["credential"] == {"name": secret["metadata"]["name"], "key": "cloud"}
        assert unwrapped(secret["stringData"]) == {"cloud": "[default]\naws_access_key_id=ours"}
        assert secret["metadata"]["namespace"] == "velero"
        assert "ours" not in str(location)

    def test_is_opened_as_velero_itself_without(self) -> None:
        cluster, _ = made()
        assert not cluster.objects("Secret")
        assert "credential" not in cluster.objects("BackupStorageLocation")[0]["spec"]


class TestSchedule:
    def spec(self, **own: Any) -> dict[str, Any]:
        return made(**own)[0].objects("Schedule")[0]["spec"]

    def test_is_each_night_and_kept_for_a_month(self) -> None:
        spec = self.spec()
        assert (spec["schedule"], spec["template"]["ttl"]) == ("0 3 * * *", "720h0m0s")
        assert self.spec(schedule="@weekly", days=7)["template"]["ttl"] == "168h0m0s"

    def test_keeps_queues_and_leaves_out_what_would_run_again(self) -> None:
        template = self.spec(namespaces=["models", "team-a"])["template"]
        assert template["includedNamespaces"] == ["models", "team-a"]
        assert "clusterqueues.kueue.x-k8s.io" in template["includedClusterScopedResources"]
        assert {"jobsets.jobset.x-k8s.io", "workloads.kueue.x-k8s.io"} <= {
            *template["excludedNamespaceScopedResources"]
        }
        (rule,) = template["labelSelector"]["matchExpressions"]
        assert rule == {"key": "batch.kubernetes.io/job-name", "operator": "DoesNotExist"}

    def test_backups_outlive_it(self) -> None:
        assert self.spec()["useOwnerReferencesInBackup"] is False

    def test_goes_to_its_own_bucket(self) -> None:
        cluster, (location, schedule, _) = made()
        assert (location, schedule) == ("nightly", "nightly")
        assert (
            self.spec()["template"]["storageLocation"]
            == cluster.objects("BackupStorageLocation")[0]["metadata"]["name"]
        )

    def test_tells_how_to_restore(self) -> None:
        _, (_, schedule, restore) = made()
        assert f"velero.io/schedule-name={schedule}" in restore
        assert "velero --namespace velero restore create --from-backup" in restore
        assert "s3://backups/one/two" in restore


class TestCron:
    """As github.com/robfig/cron/v3 takes them, which Velero has."""

    @pytest.mark.parametrize(
        "expression",
        [
            "0 3 * * *",
            "*/5 * * * *",
            "0 0 1-15/2 jan,MAR *",
            "5/10 0,12 ? * mon-FRI",
            "59 23 31 12 6",
            " 0  3 * * * ",
            "@daily",
            "@every 1h30m",
            "CRON_TZ=Europe/Paris 0 3 * * *",
        ],
    )
    def test_these_say_when(self, expression: str) -> None:
        assert cron_problem(expression) == ""

    @pytest.mark.parametrize(
        ("expression", "told"),
        [
            ("", "0 fields"),
            ("0 3 * *", "4 fields"),
            ("0 0 3 * * *", "6 fields"),
            ("60 3 * * *", "'60' as minute"),
            ("0 24 * * *", "'24' as hour"),
            ("0 3 0 * *", "'0' as day of the month"),
            ("0 3 * 13 *", "'13' as month"),
            ("0 3 * * 7", "'7' as day of the week"),
            ("0 3 * * fri-mon", "'fri-mon'"),
            ("0 3 * * foo", "'foo'"),
            ("*/0 * * * *", "'*/0'"),
            ("5-1 * * * *", "'5-1'"),
            ("@nightly", "1 fields"),
            ("@every 0s", "2 fields"),
        ],
    )
    def test_these_do_not(self, expression: str, told: str) -> None:
        assert told in cron_problem(expression)


class TestBadInput:
    @pytest.mark.parametrize(
        ("own", "path", "told"),
        [
            ({"bucket": "backups"}, "bucket", "use s3://<bucket>"),
            ({"bucket": "abfs://backups@ours"}, "bucket", "use s3://<bucket>"),
            ({"bucket": "gs://backups", "region": "eu"}, "bucket", "leave out region"),
            ({"schedule": "every night"}, "schedule", "2 fields"),
            ({"days": 0}, "days", "less than a day"),
            ({"endpoint": "objects.example"}, "endpoint", "https://objects.example"),
            ({"namespaces": []}, "namespaces", "is empty"),
        ],
    )
    def test_is_refused_by_name(self, own: dict[str, Any], path: str, told: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=re.escape(told)) as caught:
            Backup("nightly", args(**own))
        assert caught.value.property_path == path
