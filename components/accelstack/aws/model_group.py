"""Model versions in SageMaker's registry: model packages of a group."""

from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, UpdateResult

from accelstack.aws.sagemaker_job_cloud import Cloud, SageMakerProvider
from accelstack.dynamic import changed

JSON, SAMPLES = "application/json", ["image/png", "image/jpeg", "text/csv", "text/plain", "audio/wav"]
DIGEST = "digest"
"""Customer metadata that tells which content a version is."""


class ModelPackageProvider(SageMakerProvider):
    """Registers a trained model. The same content keeps its version; former ones stay, for a rollback to go back to.

    pulumi-aws has the group, but no packages.
    """

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, ["group", "digest", "uri"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        outs = self._register(props)
        return CreateResult(outs["package_arn"], outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._register(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        there = any(each["ModelPackageArn"] == props["package_arn"] for each in _versions(self.cloud(props), props))
        return ReadResult(id_ if there else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Removes all versions, since a group that holds any cannot be deleted."""
        cloud = self.cloud(_props)
        for each in _versions(cloud, _props):
            cloud.sagemaker.delete_model_package(ModelPackageName=each["ModelPackageArn"])

    def _register(self, props: dict[str, Any]) -> dict[str, Any]:
        cloud = self.cloud(props)
        arn = _same(cloud, props)
        if not arn:
            image = props["image"] or cloud.torch_image(props["instance_type"], "inference")
            arn = str(cloud.sagemaker.create_model_package(**request(props, image))["ModelPackageArn"])
        version = arn.rpartition("/")[2]
        print(f"registered {props['name']} version {version} ({props['digest'][:19]}) in {props['group']}")
        return {**props, "package_arn": arn, "version": version}


def request(props: dict[str, Any], image: str) -> dict[str, Any]:
    """The arguments of CreateModelPackage. Approval is a person's word: nothing here waits for it."""
    source = {"S3Uri": props["uri"] + "/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    return {
        "ModelPackageGroupName": props["group"],
        "ModelApprovalStatus": "PendingManualApproval",
        "CustomerMetadataProperties": {
            DIGEST: props["digest"],
            **{name: str(value) for name, value in props["score"].items()},
        },
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataSource": {"S3DataSource": source}}],
            "SupportedContentTypes": [JSON, *SAMPLES],
            "SupportedResponseMIMETypes": [JSON],
        },
    }


def _same(cloud: Cloud, props: dict[str, Any]) -> str:
    """The version with the same content at the same place; empty where there is none."""
    for each in _versions(cloud, props):
        found = cloud.sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"])
        content = found.get("CustomerMetadataProperties", {}).get(DIGEST)
        (container,) = found["InferenceSpecification"]["Containers"]
        place = container["ModelDataSource"]["S3DataSource"]["S3Uri"]
        if (content, place) == (props["digest"], props["uri"] + "/"):
            return str(found["ModelPackageArn"])
    return ""


def _versions(cloud: Cloud, props: dict[str, Any]) -> list[dict[str, Any]]:
    """Every version of the group."""
    pages = cloud.sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=props["group"])
    return [each for page in pages for each in page["ModelPackageSummaryList"]]
