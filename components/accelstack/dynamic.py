"""What dynamic providers share: clear errors, and an end when the engine is gone.

Components that stand on them work from Python programs alone, since other languages cannot load them.
"""

import atexit
import functools
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, ConfigureRequest, ResourceProvider

P = ParamSpec("P")
T = TypeVar("T")


class UserError(Exception):
    """Something that a user can mend: the message names what, why and the fix."""


def clear_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Lets a `UserError` reach the user as its message; the host would print the stack trace with it."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (UserError, OSError) as error:  # of an OSError the system's own words are clear: no space, no right
            sys.tracebacklimit = 0
            raise UserError(str(error)) from None
        except BaseException:
            sys.tracebacklimit = 100  # something unforeseen: there the trace helps
            raise

    return wrapper


@functools.cache
def end_with_engine() -> None:
    """Ends this process when the engine that started it is gone.

    The engine reads this process's standard output. A killed engine sends no farewell, and the provider host would stay
    for ever, but the pipe's other end closes then.
    """

    def watch() -> None:
        pipe, parent = select.poll(), os.getppid()
        pipe.register(sys.stdout.fileno(), 0)  # only errors: the reader has gone
        while not pipe.poll(1000) and os.getppid() == parent:
            pass
        os._exit(1)

    threading.Thread(target=watch, name="end-with-engine", daemon=True).start()
    atexit.register(os._exit, 0)  # the engine waits for this process: leave at once, without taking modules apart


class DynamicProvider(ResourceProvider):
    """Base of dynamic providers. They are pickled by name: code changes make no diff of their own."""

    serialize_as_secret_always = False

    def __init_subclass__(cls) -> None:
        for name in ("check", "diff", "create", "read", "update", "delete"):
            if name in cls.__dict__:
                setattr(cls, name, clear_errors(cls.__dict__[name]))

    def configure(self, req: ConfigureRequest) -> None:
        end_with_engine()


def child_of(component: pulumi.ComponentResource) -> pulumi.ResourceOptions:
    """Options of a component's own resource. A replacement takes the same place here, so the former one goes first."""
    return pulumi.ResourceOptions(parent=component, delete_before_replace=True)


def failed(news: dict[str, Any], problems: dict[str, str]) -> CheckResult:
    """The result of a check that found these problems, by property; of none, if there are none."""
    return CheckResult(news, [CheckFailure(name, reason) for name, reason in problems.items()])


def changed(olds: dict[str, Any], news: dict[str, Any], names: list[str]) -> bool:
    """Whether any of the named inputs differs."""
    return any(olds.get(name) != news.get(name) for name in names)
