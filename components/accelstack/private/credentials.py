"""What a kubeconfig's own program answers when it is asked for credentials."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from accelstack.private.kubeconfig import ClusterError, user

PATIENCE = 30
"""Seconds that a program may take: it may ask a cloud, but nobody sits there to answer its questions."""


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """The kubeconfig with credentials in place of the program that gives them; itself where there is none
    (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).

    Raises:
        ClusterError: the program is not there, fails, hangs, or answers with something else.
    """
    own = user(config)
    program: dict[str, Any] = own.get("exec") or {}
    if not program:
        return dict(config)
    status = _asked(program, config["clusters"][0]["cluster"])
    given = {
        "token": status.get("token"),
        "client-certificate-data": _encoded(status.get("clientCertificateData")),
        "client-key-data": _encoded(status.get("clientKeyData")),
    }
    found = {key: value for key, value in given.items() if value}
    if not found:
        raise ClusterError(f"{program['command']} answered without credentials", "sign in with its tool again")
    kept = {key: value for key, value in own.items() if key != "exec"}
    return {**config, "users": [{"name": config["users"][0]["name"], "user": {**kept, **found}}]}


def _asked(program: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The `status` of the program's ExecCredential."""
    command = str(program.get("command") or "")
    if shutil.which(command) is None:
        hint = " ".join(str(program.get("installHint") or "install it, or put it on PATH").split())
        raise ClusterError(f"the kubeconfig signs in with {command}, which is not on PATH", hint)
    spec: dict[str, Any] = {"interactive": False}
    if program.get("provideClusterInfo"):
        spec["cluster"] = {"server": cluster["server"], "certificate-authority-data": _authority(cluster)}
    info = {"apiVersion": program.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
    extra = {each["name"]: each["value"] for each in program.get("env") or ()}
    try:
        answer = subprocess.run(
            [command, *(program.get("args") or ())],
            env={**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        return json.loads(answer.stdout)["status"]
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command} did not answer within {PATIENCE} s", "sign in with its tool first") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        reason = f"{command} failed with code {error.returncode}: {said[-1] if said else 'it said nothing'}"
        raise ClusterError(reason, "sign in with its tool again") from None
    except OSError as error:
        raise ClusterError(f"{command} cannot be started: {error.strerror}", "mend it, or PATH") from None
    except (ValueError, KeyError, TypeError):
        reason = f"{command} answered with something that is no ExecCredential"
        raise ClusterError(reason, "mend the kubeconfig's exec") from None


def _authority(cluster: Mapping[str, Any]) -> str:
    return str(cluster.get("certificate-authority-data") or "")


def _encoded(text: str | None) -> str:
    return base64.b64encode(text.encode()).decode() if text else ""
