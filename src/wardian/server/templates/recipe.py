"""Recipes: how a template is made from Debian packages. Read from ``<directory>/recipe.toml``."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from wardian.server.egress.model import Egress, meant
from wardian.server.templates.model import TemplateMetadata

#: Raised when the builder changes in a way that changes what a recipe gives.
BUILDER_VERSION: Final = 1

_Package = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{1,127}$")]
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?")


class RecipeError(Exception):
    """A recipe is not there or not as it must be."""


class _Defaults(Struct, forbid_unknown_fields=True):
    user: str = "root"
    workdir: str | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    start_command: str | None = None
    egress: str | Egress | None = None


class _Document(Struct, forbid_unknown_fields=True):
    suite: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
    packages: list[_Package]
    description: str = ""
    variant: Literal["minbase", "extract"] = "minbase"
    script: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")] | None = None
    defaults: _Defaults = msgspec.field(default_factory=_Defaults)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one template.

    Args:
        name: the template's name.
        suite: Debian release.
        variant: what mmdebstrap installs beside ``packages``: ``extract`` runs nothing.
        packages: Debian packages.
        script: run as root on the build host, with the new root as its argument.
        metadata: defaults of the template.
        digest: 16 hexadecimal digits over all that decides what is built.
        description: one line for people.
    """

    name: str
    suite: str
    variant: str
    packages: tuple[str, ...]
    script: Path | None
    metadata: TemplateMetadata
    digest: str
    description: str = field(default="")

    @property
    def source(self) -> str:
        """What the template built from it names as its source."""
        return f"recipe:{self.name}@{self.digest}"


def recipes_directory() -> Path:
    """Where the recipes that ship lie: in the package, or in the checkout it is run from."""
    package = Path(__file__).resolve().parents[2]
    packaged = package / "recipes"
    return packaged if packaged.is_dir() else package.parents[1] / "templates"


def find(name_or_path: str) -> Recipe:
    """The recipe of a shipped template's name, or in a directory.

    Args:
        name_or_path: a name such as ``base``, or a path that holds a ``/``.

    Raises:
        RecipeError: there is none, or it is not as it must be.
    """
    if "/" in name_or_path:
        return read(Path(name_or_path))
    directory = recipes_directory() / name_or_path
    if not (directory / "recipe.toml").is_file():
        known = sorted(path.parent.name for path in recipes_directory().glob("*/recipe.toml"))
        raise RecipeError(
            f"no recipe {name_or_path!r}; shipped: {', '.join(known) or 'none'}; "
            "a directory is named by a path, such as ./mine"
        )
    return read(directory)


def read(directory: Path) -> Recipe:
    """The recipe in ``directory``, whose last part becomes the template's name.

    Raises:
        RecipeError: it is not there or not as it must be.
    """
    file = directory / "recipe.toml"
    try:
        raw = file.read_bytes()
        document = msgspec.toml.decode(raw, type=_Document)
        script = None if document.script is None else (directory / document.script).absolute()
        script_text = b"" if script is None else script.read_bytes()
    except OSError as error:
        raise RecipeError(f"can't read {error.filename}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecipeError(f"{file}: {error}") from error
    name = directory.absolute().name
    if _NAME.fullmatch(name) is None:
        raise RecipeError(f"{name!r} can't be the name of a template: a-z, 0-9, dot, - and _")
    defaults = document.defaults
    return Recipe(
        name=name,
        suite=document.suite,
        variant=document.variant,
        packages=tuple(document.packages),
        script=script,
        metadata=TemplateMetadata(
            defaults.user,
            defaults.workdir,
            dict(defaults.env),
            defaults.start_command,
            None if defaults.egress is None else meant(defaults.egress),
        ),
        digest=_digest(raw, script_text),
        description=document.description,
    )


def _digest(recipe: bytes, script: bytes) -> str:
    hasher = hashlib.sha256(f"{BUILDER_VERSION} {_architecture()} {len(recipe)}\n".encode())
    hasher.update(recipe)
    hasher.update(script)
    return hasher.hexdigest()[:16]


def _architecture() -> str:
    result = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
