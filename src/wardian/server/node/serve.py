"""``wardian serve``: makes the node ready, then becomes its supervisor."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from wardian.server.configuration import Configuration, Tls
from wardian.server.node import home as node_home
from wardian.server.node.progress import Report, to_stderr
from wardian.server.node.setup import (
    DEFAULT_DOMAIN,
    DEFAULT_HANDLERS,
    DEFAULT_LISTEN,
    Options,
    set_up,
)
from wardian.server.node.setup_error import SetupError


def serve(
    *,
    home: Path | None = None,
    listen: str = DEFAULT_LISTEN,
    domain: str = DEFAULT_DOMAIN,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    templates: tuple[str, ...] = ("base",),
    trusted_proxies: tuple[str, ...] = (),
    trust: tuple[Path, ...] = (),
    handlers: Path = DEFAULT_HANDLERS,
    passphrase: Path | None = None,
    report: Report = to_stderr,
) -> NoReturn:
    """Runs the node of ``home`` in the foreground, by becoming its supervisor.

    Args:
        home: everything that stays; default ``$WARDIAN_HOME`` or ``/var/lib/wardian``.
        listen: address and port of the one public listener.
        domain: sandboxes are reached at ``{port}-{id}.<domain>``.
        tls_certificate: PEM file; with ``tls_key`` the listener speaks TLS.
        tls_key: PEM file.
        templates: recipes to build where missing and to offer.
        trusted_proxies: addresses of proxies in front whose X-Forwarded-* are believed.
        trust: PEM files of the certificates that servers out there are verified against; none: the
            system's.
        handlers: directory of the operator's egress handlers, made where missing.
        passphrase: file of what the key of secrets is wrapped under.
        report: told what is being done.

    Raises:
        SetupError: the node can't be made ready, or one runs on this home already.
    """
    where = (home or node_home.default_home()).absolute()
    _check_address(listen)
    _check_not_running(where)
    tls = _tls(tls_certificate, tls_key)
    proxies = tuple(_address(text) for text in trusted_proxies)
    options = Options(
        where, listen, domain, tls, templates, proxies, tuple(trust), handlers.absolute(),
        passphrase,
    )  # fmt: skip
    configuration = set_up(options, report)
    report(f"listening on {url_of(configuration)}")
    report(f"the API key lies in {where / 'api-key'} (root may read it)")
    report("stop with Ctrl-C; sandboxes that run live on")
    launcher = configuration.binaries.launcher
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(launcher, [launcher, "supervise", "--config", str(where / "node.json")])


def url_of(configuration: Configuration) -> str:
    """The address a client on this machine uses."""
    scheme = "http" if configuration.tls is None else "https"
    host, _, port = configuration.listen.rpartition(":")
    if host in ("0.0.0.0", "[::]"):
        host = "localhost"
    return f"{scheme}://{host}:{port}"


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    if (certificate is None) != (key is None):
        raise SetupError("TLS needs both a certificate and a key", "name both, or neither")
    if certificate is None or key is None:
        return None
    return Tls(certificate=str(certificate.absolute()), key=str(key.absolute()))


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise SetupError(
            f"{text!r} is not the address of a proxy", "name its IP address, such as 127.0.0.1"
        ) from error


def _check_address(listen: str) -> None:
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SetupError(f"{listen!r} is no address to listen on", "write it like 127.0.0.1:7300")
    bare = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        socket.inet_pton(family, bare)
    except OSError as error:
        raise SetupError(
            f"{host!r} is not an IP address", "write it like 127.0.0.1:7300 or [::1]:7300"
        ) from error
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((bare, int(port)))
        except OSError as error:
            raise SetupError(
                f"can't listen on {listen}: {error.strerror}", "choose another with --listen"
            ) from error


def _check_not_running(home: Path) -> None:
    path = node_home.run_directory(home) / "launcher.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return
    raise SetupError(f"a server runs on {home} already", "stop it, or choose another WARDIAN_HOME")
