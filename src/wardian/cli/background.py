"""`start`, `ps`, `logs`, `stop`, `wait`: background processes of a sandbox."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from ._egress_options import secret_env_option
from ._failures import TIMED_OUT, Failure, printable
from ._output import ago, fields, json_option, print_json, size, table
from ._sandbox_argument import complete
from .commands import command_words
from .sandboxes import lifetime, pairs

if TYPE_CHECKING:
    from wardian import BackgroundInfo, LogRecord, Secret
    from wardian.sdk._background import Restart, Stream

_ENDED = 3


@click.command("start", context_settings={"allow_interspersed_args": False})
@click.argument("sandbox", shell_complete=complete)
@click.argument("command", nargs=-1, required=True)
@click.option("-n", "--name", help="Its name; made up if not given.")
@click.option(
    "--restart",
    type=click.Choice(["never", "on-failure", "always"]),
    default="never",
    help="Whether it is started again when it ends (never).",
)
@click.option("-w", "--cwd", help="Where it runs.")
@click.option("-u", "--user", help="Who runs it.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
@click.option("--on-exit", metavar="COMMAND", help="What runs in the sandbox when it has ended.")
@click.option("--log-limit", type=int, metavar="BYTES", help="How much log is kept (64 MiB).")
@click.option("-c", "--shell", is_flag=True, help="COMMAND is one line for a shell.")
@json_option
def start_command(
    sandbox: str,
    command: tuple[str, ...],
    name: str | None,
    restart: Restart,
    cwd: str | None,
    user: str | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
    on_exit: str | None,
    log_limit: int | None,
    shell: bool,
    as_json: bool,
) -> None:
    """Start COMMAND in the background of SANDBOX: `wardian start SANDBOX --name web -- npm start`.

    It prints the name, by which `logs`, `wait` and `stop` know the process.
    """
    from wardian import Sandbox

    argv = command_words(command)
    process = Sandbox.get(sandbox).start(
        " ".join(argv) if shell else list(argv),
        name,
        env={**env, **secret_env},
        cwd=cwd,
        user=user,
        on_exit=on_exit,
        restart=restart,
        log_limit=log_limit,
    )
    if as_json:
        print_json(process.info())
    else:
        click.echo(process.name)


@click.command("ps")
@click.argument("sandbox", shell_complete=complete)
@json_option
def ps_command(sandbox: str, as_json: bool) -> None:
    """List the background processes of SANDBOX, ended ones too."""
    from wardian import Sandbox

    found = [each.last_info for each in Sandbox.get(sandbox).background_processes()]
    if as_json:
        print_json(found)
        return
    columns = ("NAME", "STATE", "PID", "RESTARTS", "STARTED", "CPU", "MEMORY", "COMMAND")
    table(columns, [_row(info) for info in found])


def _row(info: BackgroundInfo) -> list[object]:
    state = info.state if info.reason is None else f"{info.state}: {info.reason}"
    return [
        info.name,
        state,
        info.pid,
        info.restarts,
        ago(info.started_at),
        f"{info.cpu_seconds:.1f} s",
        size(info.memory_peak_bytes),
        info.command.replace("\n", " ")[:60],
    ]


@click.command("logs")
@click.argument("sandbox", shell_complete=complete)
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the process ends.")
@click.option("--since", type=int, help="From this cursor; -N: the last N bytes.")
@click.option("--limit", type=int, help="Stop after so many bytes of output.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this output.")
@json_option
def logs_command(
    sandbox: str,
    name: str,
    follow: bool,
    since: int | None,
    limit: int | None,
    stream: Stream | None,
    as_json: bool,
) -> None:
    """Show what process NAME of SANDBOX wrote, each output on our own of the same kind."""
    from wardian import Sandbox

    process = Sandbox.get(sandbox).background_process(name)
    if follow and limit is not None:
        raise click.UsageError("--limit is not for --follow")
    records = process.follow(since, stream) if follow else process.log(since, limit, stream).records
    for record in records:
        _show(record, as_json)


def _show(record: LogRecord, as_json: bool) -> None:
    if as_json:
        import msgspec

        said = {"kind": record.kind, "time": record.time, "cursor": record.cursor}
        value = {"text": record.text} if record.kind in ("stdout", "stderr") else record.json
        sys.stdout.buffer.write(msgspec.json.encode(said | value) + b"\n")
        sys.stdout.buffer.flush()
    elif record.kind in ("stdout", "stderr"):
        output = sys.stdout.buffer if record.kind == "stdout" else sys.stderr.buffer
        output.write(record.data)
        output.flush()
    elif record.kind == "gap":
        click.echo(f"[{size(int(record.json['lost']))} of the log are lost]", err=True)


@click.command("stop")
@click.argument("sandbox", shell_complete=complete)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Stop all of them.")
@click.option("--grace", type=float, default=5, help="Seconds from SIGTERM to SIGKILL (5).")
@click.option("--remove", is_flag=True, help="Forget it too, with its log.")
@json_option
def stop_command(
    sandbox: str,
    name: str | None,
    everything: bool,
    grace: float,
    remove: bool,
    as_json: bool,
) -> None:
    """Stop process NAME of SANDBOX, with all that it started."""
    from wardian import Sandbox

    if (name is None) == (not everything):
        raise click.UsageError("give the NAME of a process, or --all")
    found = Sandbox.get(sandbox)
    one = found.background_process(name) if name is not None else None
    ended = [one.stop(grace)] if one is not None else found.stop_all(grace)
    if remove:
        for info in ended:
            found.background_process(info.name).remove()
    if as_json:
        print_json(ended)
    else:
        for info in ended:
            click.echo(f"{info.name} {info.reason}")


@click.command("wait")
@click.argument("sandbox", shell_complete=complete)
@click.argument("name")
@click.option("--port", type=int, help="Wait until this port takes connections.")
@click.option("--path", help="…and HTTP answers on this path.")
@click.option("--status", help="…with this status, or between two: 200-399.")
@click.option("--log", "text", help="Wait for a line that holds this text.")
@click.option("--regex", help="Wait for a line that this regular expression matches.")
@click.option("--exit", "for_exit", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", callback=lifetime, help="Give up after this long: 90s, 10m.")
@json_option
def wait_command(
    sandbox: str,
    name: str,
    port: int | None,
    path: str | None,
    status: str | None,
    text: str | None,
    regex: str | None,
    for_exit: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Wait for process NAME of SANDBOX: until it listens, says something, or ends.

    Exit codes: 0 it came true; 3 the process ended before; 124 it did not come in time. With
    --exit: 0 if the process ended well, else its exit code, 128 + n if signal n ended it.
    """
    from wardian import ProcessEnded, Sandbox, WaitTimeout

    if sum((port is not None, text is not None, regex is not None, for_exit)) != 1:
        raise click.UsageError("give one of --port, --log, --regex, --exit")
    process = Sandbox.get(sandbox).background_process(name)
    try:
        if port is not None:
            answer = process.wait_for_port(port, path, _statuses(status), timeout)
            if as_json:
                print_json({"status": answer})
        elif for_exit:
            raise click.exceptions.Exit(_told(process.wait_for_exit(timeout), as_json))
        else:
            found = process.wait_for_log(re.compile(regex) if regex else text or "", timeout)
            if as_json:
                print_json(found)
            else:
                click.echo(printable(found.line))
    except ProcessEnded as error:
        raise Failure(str(error), exit_code=_ENDED) from error
    except WaitTimeout as error:
        raise Failure(str(error), exit_code=TIMED_OUT) from error


def _statuses(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not first.isdecimal() or bool(dash) != last.isdecimal():
        raise click.UsageError("--status is a number, or two with a - between them")
    return (int(first), int(last)) if dash else int(first)


def _told(info: BackgroundInfo, as_json: bool) -> int:
    import signal

    if as_json:
        print_json(info)
    else:
        fields([("name", info.name), ("ended", info.reason), ("restarts", info.restarts)])
    if info.exit_code is not None:
        return min(info.exit_code, 255)
    number = getattr(signal, info.signal or "", None)
    return 128 + int(number) if number is not None else 1
