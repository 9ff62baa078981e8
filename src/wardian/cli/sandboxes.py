"""`create`, `ls`, `info`, `usage`, `kill`: sandboxes from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._egress_options import secret_env_option
from ._failures import Failure
from ._output import ago, fields, json_option, print_json, size, table
from ._sandbox_argument import complete

if TYPE_CHECKING:
    from wardian import SandboxInfo, Secret


def pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """KEY=VALUE options as a dictionary."""
    result: dict[str, str] = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
        result[key] = rest
    return result


def lifetime(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds, or `never`."""
    if value is None or value == "never":
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (value[:-1], value[-1]) if value[-1:] in units else (value, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 604800:
        raise click.BadParameter("give seconds, or 90s, 10m, 2h, 7d, or never; at most 7 days")
    return seconds


@click.command("create")
@click.argument("template", default="base")
@click.option("--name", help="A name to find it again by.")
@click.option(
    "--timeout", default="300", callback=lifetime, help="When it ends by itself: 90s, 10m, never."
)
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
@click.option("-l", "--label", multiple=True, callback=pairs, metavar="K=V", help="A label.")
@click.option("--cpu", type=float, help="CPUs.")
@click.option("--memory", type=int, metavar="MB", help="Memory in MiB.")
@click.option("--disk", type=int, metavar="MB", help="Disk in MiB.")
@click.option("--pids", type=int, help="Processes and threads.")
@click.option("--user", help="Who runs commands.")
@click.option("--workdir", help="Where commands run.")
@click.option("--class", "isolation", help="The isolation class.")
@click.option("--private", is_flag=True, help="Its ports ask visitors for a token.")
@click.option("--egress", help="What it may reach: off, on, a preset, or a file of rules.")
@click.option("--internet", type=click.Choice(["on", "off"]), help="The same in one word.")
@json_option
def create_command(
    template: str,
    name: str | None,
    timeout: float | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
    label: dict[str, str],
    cpu: float | None,
    memory: int | None,
    disk: int | None,
    pids: int | None,
    user: str | None,
    workdir: str | None,
    isolation: str | None,
    private: bool,
    egress: str | None,
    internet: str | None,
    as_json: bool,
) -> None:
    """Make a sandbox from TEMPLATE (base) and print its id."""
    from wardian import Client
    from wardian.sdk._egress import granted

    from .egress import read_policy

    policy = read_policy(egress) if egress is not None else None
    wanted = {"cpu": cpu, "memory_mb": memory, "disk_mb": disk, "pids": pids}
    limits: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    info = Client().create_sandbox(
        template,
        name=name,
        timeout=timeout,
        env={**env, **secret_env},
        labels=label,
        limits=limits or None,
        user=user,
        workdir=workdir,
        isolation=isolation,
        traffic="private" if private else None,
        egress=granted(policy, internet),
    )
    if as_json:
        print_json(public(info))
    else:
        click.echo(info.id)


def public(info: SandboxInfo) -> dict[str, Any]:
    """A sandbox for printing: without the tokens that open it."""
    import msgspec

    shown: dict[str, Any] = msgspec.to_builtins(info)
    shown.pop("agent", None)
    shown.pop("traffic_token", None)
    return shown


@click.command("ls")
@click.option("--state", multiple=True, help="Only of this state; may be repeated.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("-l", "--label", multiple=True, callback=pairs, metavar="K=V", help="Only with it.")
@click.option("--template", help="Only from this template.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@json_option
def ls_command(
    state: tuple[str, ...],
    everything: bool,
    label: dict[str, str],
    template: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """List sandboxes, those that have not ended if not told otherwise."""
    from wardian import Client

    states = ("creating", "running", "paused", "asleep", "ended") if everything else state
    found = list(Client().list_sandboxes(state=states, labels=label, template=template))
    if as_json:
        print_json([public(info) for info in found])
    elif quiet:
        for info in found:
            click.echo(info.id)
    else:
        rows = [
            (
                info.id,
                info.name,
                info.state if info.reason is None else f"{info.state} ({info.reason})",
                info.template,
                ago(info.created_at),
                ago(info.expires_at) if info.state != "ended" else "-",
                info.labels,
            )
            for info in found
        ]
        table(("ID", "NAME", "STATE", "TEMPLATE", "CREATED", "EXPIRES", "LABELS"), rows)


@click.command("info")
@click.argument("sandbox", shell_complete=complete)
@json_option
def info_command(sandbox: str, as_json: bool) -> None:
    """Show SANDBOX, an id or a name."""
    from wardian import Client

    info = Client().get_sandbox(sandbox)
    if as_json:
        return print_json(public(info))
    limits = info.limits
    return fields(
        [
            ("id", info.id),
            ("name", info.name),
            ("state", info.state),
            ("reason", info.reason),
            ("template", info.template),
            ("class", info.class_),
            ("created", info.created_at),
            ("started", info.started_at),
            ("expires", info.expires_at),
            ("ended", info.ended_at),
            ("user", info.user),
            ("workdir", info.workdir),
            ("cpus", limits.cpu),
            ("memory", f"{limits.memory_mb} MiB"),
            ("disk", f"{limits.disk_mb} MiB"),
            ("pids", limits.pids),
            ("traffic", info.traffic),
            ("labels", info.labels),
        ]
    )


@click.command("usage")
@click.argument("sandbox", shell_complete=complete)
@json_option
def usage_command(sandbox: str, as_json: bool) -> None:
    """Show what SANDBOX has used."""
    from wardian import Client

    usage = Client().sandbox_usage(sandbox)
    if as_json:
        return print_json(usage)
    return fields(
        [
            ("cpu", f"{usage.cpu_seconds:.3f} s"),
            ("memory", size(usage.memory_bytes)),
            ("memory peak", size(usage.memory_peak_bytes)),
            ("disk", size(usage.disk_bytes)),
            ("pids", usage.pids),
            ("oom kills", usage.oom_kills),
        ]
    )


@click.command("kill")
@click.argument("sandboxes", nargs=-1, shell_complete=complete)
@click.option("-a", "--all", "everything", is_flag=True, help="Every sandbox of this key.")
@json_option
def kill_command(sandboxes: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """End SANDBOXES with everything in them."""
    from wardian import Client, WardianError

    if bool(sandboxes) == everything:
        raise click.UsageError("name sandboxes, or give --all")
    client = Client()
    names = [info.id for info in client.list_sandboxes()] if everything else sandboxes
    ended: list[dict[str, Any]] = []
    failures: list[WardianError] = []
    for name in names:
        try:
            ended.append(public(client.kill_sandbox(name)))
            if not as_json:
                click.echo(name)
        except WardianError as error:
            failures.append(error)
    if as_json:
        print_json(ended)
    for error in failures[:-1]:
        Failure(str(error), error.hint).show()
    if failures:
        raise failures[-1]
