"""Failures that a test plans: which call they strike, before or after its effect, and how often."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.engine.double.types import Refusal

ATTEMPTS = 25
"""How often a provider tries what is throttled or not yet consistent: the AWS provider's `max_retries`.

https://www.pulumi.com/registry/packages/aws/api-docs/provider/
"""


class HalfWay(Exception):  # noqa: N818 - an answer, not a mistake of this program
    """The resource exists, but it came up broken: the engine keeps it in its state, and the next update sees to it."""


class Lost(Exception):  # noqa: N818 - an answer, not a mistake of this program
    """The call may have had its effect, but no answer ever arrives."""


@dataclass(frozen=True)
class Fault:
    """One planned failure."""

    error: Exception | Callable[[], None]
    """What is raised, or a function that is called: to kill the engine, say."""
    after: bool = False
    """Whether the call takes effect first."""
    operation: str = "create"
    """create, read, update, delete or invoke."""
    token: str = ""
    """The type; any where empty."""
    name: str = ""
    """The logical name; any where empty."""
    call: int = 1
    """The first matching attempt that it strikes, counted from 1."""
    times: float = 1
    """How many attempts it strikes from there on."""

    def at(self, token: str = "", name: str = "", operation: str = "create", call: int = 1) -> Fault:
        """The same failure somewhere else."""
        return replace(self, token=token, name=name, operation=operation, call=call)


def throttled(times: float = 3) -> Fault:
    """AWS asks to slow down. Passes after so many attempts; `math.inf` never does."""
    return Fault(Refusal("ThrottlingException", "Rate exceeded", passing=True), times=times)


def not_yet_assumable(times: float = 3) -> Fault:
    """Eventual consistency: a role made a moment ago cannot be assumed yet."""
    reason = (
        "The role defined for the function cannot be assumed. Role with arn is not authorized or does not exist yet"
    )
    return Fault(Refusal("InvalidParameterException", reason, passing=True), times=times)


def over_quota() -> Fault:
    """The account's limit of vCPUs for the machine's class is reached, until a person has it raised."""
    reason = "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket"
    return Fault(Refusal("VcpuLimitExceeded", reason), times=math.inf)


def no_capacity(times: float = math.inf) -> Fault:
    """The zone has no machine of the type to give at the moment."""
    reason = "We currently do not have sufficient capacity in the Availability Zone you requested"
    return Fault(Refusal("InsufficientInstanceCapacity", reason), times=times)


def expired() -> Fault:
    """Credentials that ran out during the run."""
    return Fault(Refusal("ExpiredToken", "The security token included in the request is expired"), times=math.inf)


def half_way(reason: str) -> Fault:
    """A creation that ends in a failed state: a node group in CREATE_FAILED, or one that ran into its time-out."""
    return Fault(HalfWay(reason), after=True)


def lost() -> Fault:
    """The effect took place, and the connection broke before the answer."""
    return Fault(Lost("error reading from server: connection reset by peer"), after=True)


def struck(action: Callable[[], None]) -> Fault:
    """The test's own action, run once the effect has taken place: killing the engine, say."""
    return Fault(action, after=True)


@dataclass
class Faults:
    """The failures planned for one double."""

    planned: list[Fault] = field(default_factory=list[Fault])
    _attempts: dict[int, int] = field(default_factory=dict[int, int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, *faults: Fault) -> None:
        """Adds failures."""
        self.planned.extend(faults)

    def clear(self) -> None:
        """The world is well again."""
        self.planned.clear()
        self._attempts.clear()

    def strike(self, operation: str, token: str, name: str, *, after: bool) -> None:
        """Called by the double around each attempt: raises or does what is planned."""
        for fault in list(self.planned):
            matches = fault.operation == operation and fault.token in ("", token) and fault.name in ("", name)
            if not matches or fault.after != after:
                continue
            with self._lock:
                attempt = self._attempts[id(fault)] = self._attempts.get(id(fault), 0) + 1
            if fault.call <= attempt < fault.call + fault.times:
                if isinstance(fault.error, Exception):
                    raise fault.error
                fault.error()
