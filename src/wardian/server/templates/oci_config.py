"""From an image's configuration to a template's defaults."""

from __future__ import annotations

import re
import shlex
from typing import Final

from wardian.server.errors import InvalidRequest
from wardian.server.templates.model import TemplateMetadata
from wardian.server.templates.oci_documents import Defaults

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MOST_ENV: Final = 64 << 10


def metadata_of(defaults: Defaults | None) -> TemplateMetadata:
    """The defaults a template of this image gets.

    User and group: only the user counts, its groups come from the image's own accounts.
    Entrypoint and command become one shell line.

    Raises:
        InvalidRequest: the image's user is no user name or number, or its environment too large.
    """
    given = defaults or Defaults()
    user = (given.user or "").partition(":")[0] or "root"
    if _USER.fullmatch(user) is None:
        raise InvalidRequest(f"the image's user {user[:64]!r} is no user name or number")
    workdir = given.working_directory or None
    if workdir is not None and not workdir.startswith("/"):
        workdir = f"/{workdir}"
    start = [*(given.entrypoint or ()), *(given.command or ())]
    return TemplateMetadata(
        user=user,
        workdir=workdir,
        env=_environment(given.env or []),
        start_command=shlex.join(start) if start else None,
    )


def _environment(lines: list[str]) -> dict[str, str]:
    if sum(map(len, lines)) > _MOST_ENV:
        raise InvalidRequest(f"the image's environment is larger than {_MOST_ENV} characters")
    env: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        # Names a shell can't hold appear in real images; they would be lost there too.
        if _NAME.fullmatch(name) is not None and "\0" not in value:
            env[name] = value
    return env
