"""How a handler is declared, and how it refuses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wardian.handlers._messages import Request, Response, Sandbox

HandlerFunction = Callable[[Request, Sandbox], Awaitable[Request | Response]]
Function = TypeVar("Function", bound=HandlerFunction)

NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
# The attribute that the loader looks for.
MARK = "__wardian_handler__"


class Refuse(Exception):
    """Raised by a handler: the sandbox gets this status and message, and nothing is sent on.

    Args:
        status: 400 to 599.
        message: shown to the sandbox.
    """

    def __init__(self, status: int, message: str) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a refusal has a status from 400 to 599, not {status}")
        super().__init__(message)
        self.status = status
        self.message = message


def handler(name: str) -> Callable[[Function], Function]:
    """Makes an ``async def`` function of request and sandbox the handler ``name``.

    It returns the request, which is sent on, or a response, which the sandbox gets.

    Args:
        name: what rules call it: up to 63 of ``a-z``, ``0-9``, ``-`` and ``_``.

    Raises:
        ValueError: the name is none.
        TypeError: the function is not async.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a handler")

    def declare(function: Function) -> Function:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"handler {name}: declare it with async def")
        setattr(function, MARK, name)
        return function

    return declare
