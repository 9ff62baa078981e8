"""`serve`: the server on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from ._failures import Failure


@click.command("serve")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything that stays lies (WARDIAN_HOME, else /var/lib/wardian).",
)
@click.option("--listen", metavar="ADDRESS:PORT", help="The one port (127.0.0.1:7300).")
@click.option("--domain", help="Sandboxes' ports are at {port}-{id}.DOMAIN (localhost).")
@click.option("--tls-certificate", type=click.Path(path_type=Path, exists=True), metavar="FILE")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), metavar="FILE")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy in front whose X-Forwarded-* are believed; may be repeated.",
)
@click.option(
    "--trust",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Certificates (PEM) that servers sandboxes talk to are verified against, instead of the "
    "system's; may be repeated.",
)
@click.option(
    "--handlers",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the egress handlers lie (/etc/wardian/handlers).",
)
@click.option(
    "--passphrase-file",
    "passphrase",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Holds a passphrase that the key of secrets is wrapped under from now on; a second line, "
    "the one before.",
)
@click.option(
    "--template", "templates", multiple=True, help="A recipe to offer (base); may be repeated."
)
def serve_command(
    home: Path | None,
    listen: str | None,
    domain: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    trusted_proxies: tuple[str, ...],
    trust: tuple[Path, ...],
    handlers: Path | None,
    passphrase: Path | None,
    templates: tuple[str, ...],
) -> None:
    """Run the server in the foreground, as root; set up first what is missing."""
    try:
        from wardian.server.node.serve import serve
        from wardian.server.node.setup_error import SetupError
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing", "pip install 'wardian[server]'") from error
    given = {
        "listen": listen,
        "domain": domain,
        "templates": templates,
        "trusted_proxies": trusted_proxies,
        "trust": trust,
        "handlers": handlers,
        "passphrase": passphrase,
    }
    options = {name: value for name, value in given.items() if value}
    try:
        serve(home=home, tls_certificate=tls_certificate, tls_key=tls_key, **options)  # pyright: ignore[reportArgumentType]
    except SetupError as error:
        raise Failure(error.message, error.hint) from error
