"""IAM's identity providers, through which pods of a cluster take on roles."""

from collections.abc import Iterator

from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import pairs
from tests.engine.double.types import Inputs, Problem, Type

PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"


def url(inputs: Inputs) -> Iterator[Problem]:
    """The issuer's URL has https and neither port nor trailing slash
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html)."""
    given = inputs.get("url")
    if isinstance(given, str) and (not given.startswith("https://") or given.endswith("/") or ":" in given[8:]):
        yield Problem("url", f"InvalidInput: {given} is no URL of an issuer")


TYPES = {
    PROVIDER: Type(
        calls=[
            Call(
                "iam.CreateOpenIDConnectProvider",
                same="url",
                moved={
                    "clientIdLists": "ClientIDList",
                    "thumbprintLists": "ThumbprintList",
                    "tags": Put("Tags", pairs()),
                },
            )
        ],
        id="{url}",
        outputs={
            "arn": lambda made: (
                "arn:{partition}:iam::{account}:oidc-provider/".format(**made.config)
                + made.inputs["url"].removeprefix("https://")
            ),
            "thumbprintLists": lambda made: made.inputs.get(
                "thumbprintLists", ["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"]
            ),
        },
        replace="url",
        imports="{arn}",
        checks=[url],
        regional=False,
    )
}
