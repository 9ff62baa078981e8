"""Makes a machine ready to be a node. Idempotent; tells each step it really does.

``python -m wardian.server.node.setup`` is what ``make setup`` runs as root; ``serve`` calls
:func:`set_up` each time, because /run is empty after a reboot.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from wardian.server import configuration
from wardian.server.configuration import Configuration, ConfigurationError, Handlers, Pool, Tls
from wardian.server.node import (
    accounts,
    binaries,
    home,
    interpreter,
    package_sources,
    packages,
    pool_image,
    registry_names,
    seeding,
)
from wardian.server.node.progress import Report, to_stderr
from wardian.server.node.setup_error import SetupError
from wardian.server.node.world_readable import first_obstacle
from wardian.server.store.key_file import read_passphrases

UID_BASE: Final = 2_000_000_000
UID_SLOTS: Final = 30_000
#: Processes parked ahead: a burst of creates no larger than this takes no more time than its work.
MOST_PARKED: Final = 128
LEAST_PARKED: Final = 8
#: What one costs, nearly all of it the kernel's: two network namespaces, mounts, control groups.
_PARKED_BYTES: Final = 704 * 1024
#: All together cost at most this part of the machine's memory.
_PARKED_SHARE: Final = 256
DEFAULT_LISTEN: Final = "127.0.0.1:7300"
DEFAULT_DOMAIN: Final = "localhost"
DEFAULT_HANDLERS: Final = Path("/etc/wardian/handlers")


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may choose.

    Args:
        home: everything that stays.
        listen: address and port of the public listener.
        domain: sandboxes are reached at ``{port}-{id}.<domain>``.
        tls: certificate and key of the listener; ``None``: plain HTTP.
        templates: recipes that are built where missing and offered to the control plane.
        trusted_proxies: addresses of proxies in front whose X-Forwarded-* are believed.
        trust: PEM files of the certificates that servers out there are verified against; none: the
            system's.
        handlers: directory of the operator's egress handlers, made where missing.
        passphrase: file of what the key of secrets is wrapped under.
    """

    home: Path
    listen: str = DEFAULT_LISTEN
    domain: str = DEFAULT_DOMAIN
    tls: Tls | None = None
    templates: tuple[str, ...] = ("base",)
    trusted_proxies: tuple[str, ...] = ()
    trust: tuple[Path, ...] = ()
    handlers: Path = DEFAULT_HANDLERS
    passphrase: Path | None = None


def set_up(options: Options, report: Report = to_stderr) -> Configuration:
    """Makes everything the node of ``options.home`` needs, and writes its node.json.

    Raises:
        SetupError: not root, or a step failed; it says what mends it.
    """
    require_root()
    packages.install(packages.NODE, report)
    users = accounts.ensure(report)
    home.ensure_directories(options.home, users)
    home.ensure_handlers(options.handlers)
    _check_tls(options.tls)
    _check_passphrase(options.passphrase, users)
    config_path = options.home / "node.json"
    run = home.run_directory(options.home)
    result = Configuration(
        home=str(options.home),
        run=str(run),
        instance=home.instance_of(options.home),
        listen=options.listen,
        domain=options.domain,
        tls=options.tls,
        control_uid=users.control_uid,
        edge_uid=users.edge_uid,
        gid=users.gid,
        binaries=binaries.find(),
        control_command=interpreter.control_command(config_path, users),
        pool=pool_image.ensure(options.home, report, _pool_before(config_path)),
        uid_base=UID_BASE,
        uid_slots=UID_SLOTS,
        trusted_proxies=list(options.trusted_proxies),
        trust=[str(path.absolute()) for path in options.trust],
        passphrase=None if options.passphrase is None else str(options.passphrase.absolute()),
        packages=package_sources.detect(
            os.environ,
            Path.home(),
            mirrored=registry_names.mirrored(sorted(package_sources.WELL_KNOWN)),
        ),
        handlers=Handlers(
            command=interpreter.handlers_command(
                options.handlers, home.handlers_state(options.home)
            ),
            path=str(options.handlers),
            uid=users.handlers_uid,
            gid=users.handlers_gid,
        ),
        parked=parked_for(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
    )
    home.ensure_first_key(options.home, users)
    seeding.offer(options.templates, options.home / "seed", report)
    text = msgspec.json.format(msgspec.json.encode(result), indent=2).decode()
    home.write_public(options.home, "node.json", f"{text}\n")
    return result


def parked_for(memory_bytes: int) -> int:
    """How many processes a machine with this much memory keeps parked."""
    affordable = memory_bytes // _PARKED_SHARE // _PARKED_BYTES
    return min(MOST_PARKED, max(LEAST_PARKED, affordable))


def require_root() -> None:
    """Raises:
    SetupError: this process is not root.
    """
    if os.geteuid() != 0:
        raise SetupError(
            "set-up needs root: it makes users, a disk pool and namespaces", "use sudo"
        )


def _pool_before(config_path: Path) -> Pool | None:
    if not config_path.exists():
        return None
    try:
        return configuration.load(config_path).pool
    except configuration.ConfigurationError as error:
        raise SetupError(str(error), f"correct or remove {config_path}") from error


def _check_tls(tls: Tls | None) -> None:
    for path in () if tls is None else (tls.certificate, tls.key):
        if not Path(path).is_file():
            raise SetupError(f"no file {path}", "name the certificate and key as PEM files")
    if tls is None:
        return
    obstacle = first_obstacle(Path(tls.certificate))
    if obstacle is not None:
        raise SetupError(
            f"{tls.certificate} can't be read by the user wardian-edge because of {obstacle}",
            "copy it to a directory that everybody can pass",
        )


def _check_passphrase(path: Path | None, users: accounts.Accounts) -> None:
    if path is None:
        return
    try:
        read_passphrases(path)
    except ConfigurationError as error:
        raise SetupError(str(error), "write it anew, and name it again") from error
    found = path.stat()
    if found.st_uid != users.control_uid or found.st_mode & 0o077:
        raise SetupError(
            f"{path} must be the control plane's own, and nobody else's to read",
            f"chown wardian {path} && chmod 0400 {path}",
        )
    obstacle = first_obstacle(path.absolute().parent)
    if obstacle is not None:
        raise SetupError(
            f"{path} can't be read by the user wardian because of {obstacle}",
            "move it to a directory that everybody can pass",
        )


def main() -> int:
    """The command line of ``make setup``."""
    parser = argparse.ArgumentParser(
        prog="python -m wardian.server.node.setup", description=__doc__
    )
    parser.add_argument("--home", type=Path, default=home.default_home())
    parser.add_argument("--test", action="store_true", help="also what tests and benchmarks need")
    parser.add_argument("--template", action="append", help="recipe to build (default: base)")
    parser.add_argument(
        "--machine-only", action="store_true", help="packages, users and templates, but no home"
    )
    arguments = parser.parse_args()
    templates = tuple(arguments.template or ("base",))
    try:
        require_root()
        if arguments.test:
            packages.install((*packages.NODE, *packages.TEST), to_stderr)
        if arguments.machine_only:
            packages.install(packages.NODE, to_stderr)
            accounts.ensure(to_stderr)
            seeding.build_missing(templates, to_stderr)
        else:
            set_up(Options(home=arguments.home.absolute(), templates=templates))
    except SetupError as error:
        print(f"wardian: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
