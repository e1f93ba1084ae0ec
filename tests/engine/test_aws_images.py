"""Image repositories on AWS, and roles, through the real engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import programs
from tests.engine.programs import Program, Run

REPOSITORY, IMAGE = "aws:ecr/repository:Repository", "docker-build:index:Image"
ROLE, CLUSTER = "aws:iam/role:Role", "aws:eks/cluster:Cluster"
DIGEST = f"public.ecr.aws/example/workloads@sha256:{'0' * 64}"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A project in us-east-1 with a folder of its own to build an image from."""
    with programs.attached(tmp_path / "p", names=("aws", "docker-build")) as made:
        made.configure(aws__region="us-east-1")
        folder = made.path / "image"
        folder.mkdir()
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
        (folder / "file").write_text("one")
        yield made


def write(program: Program, **args: object) -> None:
    program.write(f"""
        from accelstack.aws.images import ImageRepository
        images = ImageRepository("images", {args!r})
        pulumi.export("uri", images.uri)
        pulumi.export("image", images.image)
    """)


def succeeded(run: Run) -> Run:
    assert run.ok, run.output
    return run


def test_a_repository_alone_is_private_scanned_and_kept(program: Program) -> None:
    write(program)
    succeeded(program.up())
    made = program.cloud.one(REPOSITORY).inputs
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfigurations"][0]["encryptionType"] == "KMS"
    assert program.outputs() == {"uri": program.cloud.one(REPOSITORY).outputs["repositoryUrl"]}  # and no image
    assert {each.type for each in program.state() if each.protect} == {REPOSITORY, "aws:kms/key:Key"}
    assert not succeeded(program.up()).changes


def test_a_given_image_is_used_and_nothing_is_built(program: Program) -> None:
    write(program, image=DIGEST)
    succeeded(program.up())
    assert program.outputs()["image"] == DIGEST
    assert not program.doubles["docker-build"].cloud.resources


def test_an_image_is_built_when_its_files_change_and_never_otherwise(program: Program) -> None:
    write(program, context="image", protect=False)
    succeeded(program.preview())
    succeeded(program.up())
    images = program.doubles["docker-build"].cloud
    first = program.outputs()["image"]
    assert first == f"{program.outputs()['uri']}@{images.one(IMAGE).outputs['digest']}"
    assert images.one(IMAGE).inputs["buildOnPreview"] is False
    assert not succeeded(program.up()).changes

    (program.path / "image" / "file").write_text("two")
    assert succeeded(program.up()).steps == [("update", "images")]
    before = images.one(IMAGE).inputs["tags"]
    (program.path / "image" / "file").chmod(0o755)
    assert succeeded(program.up()).steps == [("update", "images")]
    assert images.one(IMAGE).inputs["tags"] != before

    succeeded(program.destroy())
    assert not program.cloud.resources


def test_the_registrys_password_is_a_secret_of_the_state(program: Program) -> None:
    write(program, context="image")
    succeeded(program.up())
    assert "made-for-tests" not in json.dumps(program.export())


def test_a_role_lets_the_pods_of_one_service_account_in_and_is_known_when_it_works(program: Program) -> None:
    program.write("""
        from accelstack.aws.identity import Role
        from accelstack.aws.policies import bucket_access, document
        role = Role("trainer", {
            "cluster": "lab",
            "namespace": "jobs",
            "service_account": "trainer",
            "policy": document(bucket_access("arn:aws:s3:::lab-data", ["runs/"], write=True)),
        })
        pulumi.export("arn", role.arn)
        pulumi.export("service_account", role.service_account)
    """)
    add = program.cloud.add
    vpc = add("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"}, region="us-east-1").id
    subnet = add("aws:ec2/subnet:Subnet", {"vpcId": vpc, "cidrBlock": "10.0.0.0/20"}, region="us-east-1").id
    add(CLUSTER, {"name": "lab", "vpcConfig": {"subnetIds": [subnet]}}, region="us-east-1")
    succeeded(program.up())
    (trust,) = json.loads(program.cloud.one(ROLE).inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {
        "aws:RequestTag/eks-cluster-arn": "arn:aws:eks:us-east-1:123456789012:cluster/lab",
        "aws:RequestTag/kubernetes-namespace": "jobs",
        "aws:RequestTag/kubernetes-service-account": "trainer",
    }
    association = next(each for each in program.state() if "PodIdentityAssociation" in each.type)
    assert {each.rsplit("::", 1)[-1] for each in association.dependencies} == {"trainer"}
    assert any("rolePolicy" in each for each in association.dependencies)
    assert program.outputs()["service_account"] == "trainer"
    assert not succeeded(program.up()).changes
    succeeded(program.destroy())
    assert not program.cloud.of(ROLE)
