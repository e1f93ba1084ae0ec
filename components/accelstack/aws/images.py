"""A registry for images, and the workloads' image: built here or given."""

import json
import re
from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi
import pulumi_docker_build as docker
from pulumi_aws import ecr

from accelstack.aws import image_source
from accelstack.aws.keys import Key
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.platform import IMAGE

PLATFORMS = ("linux/amd64", "linux/arm64")
UNTAGGED_DAYS = 14
"""Days until ECR drops images without a tag, such as what a push that failed has left."""
KEPT = 100
"""Tagged images that ECR keeps, the newest; each is a state of the workloads that can be gone back to."""


def repository(image: str, partition: str) -> str:
    """ARN of the repository that an image in ECR lies in."""
    registry, _, name = image.partition("@")[0].partition("/")
    account, _, _, region = registry.split(".")[:4]
    return f"arn:{partition}:ecr:{region}:{account}:repository/{name.partition(':')[0]}"


class ImageRepositoryArgs(TypedDict):
    """Args of `aws.ImageRepository`."""

    image: NotRequired[str]
    """Image to use instead of building one, by digest: `registry/name@sha256:…`."""
    context: NotRequired[str]
    """Folder to build an image from, with Docker on the machine that runs the update; relative to where Pulumi runs, or
    other machines build it anew. With neither this nor `image`, there is a repository only."""
    dockerfile: NotRequired[str]
    """Path of the Dockerfile in that folder; `Dockerfile` if left out."""
    target: NotRequired[str]
    """Stage of the Dockerfile; the last if left out."""
    base: NotRequired[str]
    """Value of the Dockerfile's BASE argument, such as an image that has EFA's libraries; the Dockerfile's own if left
    out."""
    platforms: NotRequired[list[str]]
    """`linux/amd64`, `linux/arm64` or both; `linux/amd64` if left out."""
    key_arn: NotRequired[pulumi.Input[str]]
    """Key that encrypts the images; left out, one is made."""
    protect: NotRequired[bool]
    """Whether the repository, and the key if one is made, are kept from deletion; true if left out. With false, the
    repository goes with all its images."""


class ImageRepository(pulumi.ComponentResource):
    """An ECR repository whose tags never move, that looks for known vulnerabilities in each image, and an image.

    An image is built when what it is made of changes, its path and its files' modes included, and never for a preview;
    its tag is a digest of all that. Images stay in the repository when others take their place. If an update is cut
    off between the push and its record, ECR may refuse the next push of that tag: delete the image that it names.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule, or the Dockerfile is not there.
    """

    arn: pulumi.Output[str]
    """ARN of the repository."""
    uri: pulumi.Output[str]
    """Registry and name of the repository, without a tag."""
    image: pulumi.Output[str | None]
    """The image by digest, known when it can be pulled; None if none is given or built."""

    def __init__(self, name: str, args: ImageRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        refuse(_check(args))
        super().__init__("accelstack:index:AwsImageRepository", name, None, opts)
        protect = args.get("protect", True)
        child = pulumi.ResourceOptions(parent=self)
        if "key_arn" in args:
            key_arn = args["key_arn"]
        else:
            key_arn = Key(name, {"description": f"Images of {name}", "protect": protect}, child).arn
        repository = ecr.Repository(
            name,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=key_arn)
            ],
            force_delete=not protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        ecr.LifecyclePolicy(name, repository=repository.name, policy=lifecycle(UNTAGGED_DAYS, KEPT), opts=child)
        self.arn = repository.arn
        self.uri = repository.repository_url
        self.image = pulumi.Output[str | None].from_input(args.get("image"))
        if "context" in args:
            self.image = self._build(name, args["context"], args, repository)
        self.register_outputs({"arn": self.arn, "uri": self.uri, "image": self.image})

    def _build(
        self, name: str, context: str, args: ImageRepositoryArgs, repository: ecr.Repository
    ) -> pulumi.Output[str | None]:
        dockerfile = args.get("dockerfile", "Dockerfile")
        platforms = args.get("platforms", [PLATFORMS[0]])
        settings = {"target": args.get("target", ""), "base": args.get("base", ""), "platforms": platforms}
        login = ecr.get_authorization_token_output(
            registry_id=repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        built = docker.Image(
            name,
            context=docker.BuildContextArgs(location=context),
            dockerfile=docker.DockerfileArgs(location=f"{context}/{dockerfile}"),
            target=args.get("target"),
            build_args={"BASE": args["base"]} if "base" in args else {},
            platforms=[docker.Platform(each) for each in platforms],
            tags=[pulumi.Output.concat(self.uri, ":", image_source.tag(context, dockerfile, settings))],
            registries=[
                docker.RegistryArgs(
                    address=self.uri, username=login.user_name, password=pulumi.Output.secret(login.password)
                )
            ],
            push=True,
            build_on_preview=False,
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )
        return pulumi.Output.concat(self.uri, "@", built.digest)


def lifecycle(untagged_days: int, kept: int) -> str:
    """ECR's lifecycle policy: untagged images go after some days, and of the tagged ones the newest are kept."""
    untagged = {
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": untagged_days,
    }
    tagged = {"tagStatus": "tagged", "tagPatternList": ["*"], "countType": "imageCountMoreThan", "countNumber": kept}
    rules = [
        {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}
        for priority, selection in enumerate((untagged, tagged), 1)
    ]
    return json.dumps({"rules": rules})


def _check(args: ImageRepositoryArgs) -> Iterator[Finding | None]:
    image = args.get("image")
    if image is not None:
        if not re.fullmatch(IMAGE, image):
            fix = "use registry/name@sha256:<64 hexadecimal digits>"
            yield Finding(Severity.INVALID, "image", image, "is no image by digest, whose content never changes", fix)
        if "context" in args:
            yield Finding(
                Severity.ERROR, "image", image, "is given, and `context` asks for a build", "name one of them"
            )
    for index, platform in enumerate(args.get("platforms", [])):
        yield one_of(f"platforms[{index}]", platform, PLATFORMS, "platform of nodes")
    if "context" in args:
        yield from image_source.check(args["context"], args.get("dockerfile", "Dockerfile"))
