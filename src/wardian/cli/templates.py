"""`template`: what sandboxes start from."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._failures import Failure
from ._output import ago, json_option, print_json, progress_bars, size, table
from .sandboxes import pairs

if TYPE_CHECKING:
    from wardian import Template

_LAYER = "application/x-tar"
_OCI_LAYOUT = "application/vnd.oci.image.layout.v1+tar"
_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}


@click.group("template")
def template_command() -> None:
    """What sandboxes start from."""


@template_command.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List templates."""
    from wardian import Client

    templates = Client().list_templates()
    if as_json:
        return print_json(templates)
    rows = [
        (each.name, size(each.size_bytes), each.user, ago(each.created_at), each.source)
        for each in templates
    ]
    return table(("NAME", "SIZE", "USER", "CREATED", "SOURCE"), rows)


@template_command.command("rm")
@click.argument("name")
def rm(name: str) -> None:
    """Remove the template NAME. Sandboxes that run from it keep it from being removed."""
    from wardian import Client

    Client().delete_template(name)


@template_command.command("pull")
@click.argument("reference")
@click.option("--name", help="The template's name; the image's own if not given.")
@click.option("--username", help="For registries that ask.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--plain-http", is_flag=True, help="The registry speaks no TLS.")
@json_option
def pull(
    reference: str,
    name: str | None,
    username: str | None,
    password_stdin: bool,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Make a template of an OCI image: REFERENCE is [registry/]repository[:tag][@digest]."""
    from wardian import Client

    from ._events import follow_pull

    password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    name = name or reference.rsplit("/", 1)[-1].split("@")[0].split(":")[0]
    response = Client().pull_template(
        name, reference, username=username, password=password, plain_http=plain_http
    )
    with progress_bars(not as_json) as advance:
        template = follow_pull(response, advance)
    _done(template, as_json)


@template_command.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--user", help="Who runs commands if nobody is named.")
@click.option("--workdir", help="Where commands run if nothing is named.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@click.option("--start-command", help="A shell line to run once at start.")
@json_option
def import_template(
    name: str,
    file: Path,
    user: str | None,
    workdir: str | None,
    env: dict[str, str],
    start_command: str | None,
    as_json: bool,
) -> None:
    """Make the template NAME from FILE.

    FILE is the tar of a root filesystem, plain or compressed with zstd or gzip, or the tar of an
    OCI image layout.
    """
    defaults = {"user": user, "workdir": workdir, "start_command": start_command}
    query = [(key, value) for key, value in defaults.items() if value is not None]
    query += [("env", f"{key}={value}") for key, value in env.items()]
    _done(_put(name, file, query, as_json), as_json)


@template_command.command("build")
@click.argument("recipe")
@click.option("--again", is_flag=True, help="Build even if it is built, for newer packages.")
@json_option
def build(recipe: str, again: bool, as_json: bool) -> None:
    """Build a template from Debian packages, on this machine and as root.

    RECIPE is the name of one that ships, such as base, or a directory that holds a recipe.toml,
    written as a path: ./mine.
    """
    try:
        from wardian.server.templates import builder
        from wardian.server.templates import recipe as recipes
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing", "pip install 'wardian[server]'") from error
    try:
        found = recipes.find(recipe)
        archive = builder.build(found, lambda line: click.echo(line, err=True), again=again)
    except (recipes.RecipeError, builder.BuildError) as error:
        raise Failure(str(error)) from error
    metadata = found.metadata
    query = [("user", metadata.user)]
    query += [("workdir", metadata.workdir)] if metadata.workdir else []
    query += [("env", f"{key}={value}") for key, value in metadata.env.items()]
    query += [("start_command", metadata.start_command)] if metadata.start_command else []
    _done(_put(found.name, archive, query, as_json), as_json)


def _put(name: str, file: Path, query: list[tuple[str, str]], as_json: bool) -> Template:
    from wardian import Client
    from wardian.sdk._body import body_of
    from wardian.sdk._localfile import open_local

    media_type, encoding = _kind(file)
    with progress_bars(not as_json) as advance, open_local(file) as source:
        body = body_of(source, lambda done, total: advance(file.name, done, total))
        return Client().put_template(
            name, body, media_type=media_type, encoding=encoding, query=query
        )


def _kind(file: Path) -> tuple[str, str | None]:
    """Media type and content encoding of a template's file."""
    with file.open("rb") as opened:
        start = opened.read(4)
    encoding = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if encoding is not None:
        return _LAYER, encoding
    try:
        with tarfile.open(file, mode="r:") as tar:
            # The marker of an OCI layout; tools write it among the first entries or the last.
            names = {member.name.removeprefix("./") for member in tar}
    except tarfile.TarError as error:
        raise Failure(f"{file} is no tar: {error}") from error
    is_layout = "oci-layout" in names and "index.json" in names
    return (_OCI_LAYOUT if is_layout else _LAYER), None


def _done(template: Template, as_json: bool) -> None:
    if as_json:
        print_json(template)
    else:
        click.echo(f"{template.name}  {size(template.size_bytes)}")
