"""IAM, which knows no regions."""

from tests.engine.double import policies
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import pairs
from tests.engine.double.types import Autoname, Type

TYPES = {
    "aws:iam/role:Role": Type(
        calls=[
            Call(
                "iam.CreateRole",
                same="path description maxSessionDuration permissionsBoundary",
                moved={
                    "name": "RoleName",
                    "assumeRolePolicy": Put("AssumeRolePolicyDocument", check=policies.trust),
                    "tags": Put("Tags", pairs()),
                },
            ),
        ],
        id="{name}",
        outputs={
            "arn": lambda made: "arn:{partition}:iam::{account}:role{path}{name}".format(
                **made.config, path=made.inputs.get("path", "/"), name=made.inputs["name"]
            ),
            "uniqueId": "AROA{digits17}",
            "createDate": "2026-01-01T00:00:00Z",
        },
        defaults={"path": "/", "maxSessionDuration": 3600, "managedPolicyArns": [], "inlinePolicies": []},
        replace="name namePrefix path",
        own={"forceDetachPolicies": "detaches before deletion"},
        name=Autoname(limit=64),
        held_by="aws:iam/rolePolicyAttachment:RolePolicyAttachment aws:iam/rolePolicy:RolePolicy"
        " aws:iam/instanceProfile:InstanceProfile",
        unless="forceDetachPolicies",
        regional=False,
    ),
    "aws:iam/policy:Policy": Type(
        calls=[
            Call(
                "iam.CreatePolicy",
                same="path description",
                moved={
                    "name": "PolicyName",
                    "policy": Put("PolicyDocument", check=policies.identity),
                    "tags": Put("Tags", pairs()),
                },
            ),
        ],
        id="arn:{partition}:iam::{account}:policy/{name}",
        outputs={"arn": "{id}", "policyId": "ANPA{digits17}", "attachmentCount": 0},
        defaults={"path": "/"},
        replace="name namePrefix path description",
        name=Autoname(limit=128),
        held_by="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        regional=False,
    ),
    "aws:iam/rolePolicy:RolePolicy": Type(
        calls=[
            Call(
                "iam.PutRolePolicy",
                moved={
                    "name": "PolicyName",
                    "role": "RoleName",
                    "policy": Put("PolicyDocument", check=policies.identity),
                },
            ),
        ],
        id="{role}:{name}",
        replace="name namePrefix role",
        name=Autoname(limit=128),
        refers={"role": "aws:iam/role:Role"},
        regional=False,
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Type(
        calls=[Call("iam.AttachRolePolicy", same="policyArn", moved={"role": "RoleName"})],
        id="{role}-{policyArn}",
        replace="role policyArn",
        refers={"role": "aws:iam/role:Role"},
        imports="{role}/{policyArn}",
        regional=False,
    ),
    "aws:iam/instanceProfile:InstanceProfile": Type(
        calls=[
            Call(
                "iam.CreateInstanceProfile",
                same="path",
                moved={"name": "InstanceProfileName", "tags": Put("Tags", pairs())},
            ),
            Call("iam.AddRoleToInstanceProfile", moved={"name": "InstanceProfileName", "role": "RoleName"}),
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:iam::{account}:instance-profile/{name}", "uniqueId": "AIPA{digits17}"},
        replace="name namePrefix path",
        name=Autoname(limit=128),
        refers={"role": "aws:iam/role:Role"},
        regional=False,
    ),
}
