"""`exec` and `run`: commands in a sandbox, with our input, output and exit code as theirs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

import click

from ._egress_options import secret_env_option
from ._failures import OWN_FAILURE, explained
from ._sandbox_argument import complete
from .sandboxes import lifetime, pairs

if TYPE_CHECKING:
    from wardian import CommandResult, Process, Sandbox, Secret
    from wardian.sdk._sync.placeholders import Environment

_INPUT_CHUNK = 64 * 1024
_PASSED_ON = {"allow_interspersed_args": False}


@click.command("exec", context_settings=_PASSED_ON)
@click.argument("sandbox", shell_complete=complete)
@click.argument("command", nargs=-1, required=True)
@click.option("-w", "--cwd", help="Where it runs.")
@click.option("-u", "--user", help="Who runs it.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
@click.option("--timeout", callback=lifetime, help="Stop it after this long: 90s, 10m.")
@click.option("-c", "--shell", is_flag=True, help="COMMAND is one line for a shell.")
@click.option("-t", "--tty", is_flag=True, help="Run it in a terminal, shown on this one.")
@click.option("-s", "--session", metavar="NAME", help="The session it runs in, made if needed.")
def exec_command(
    sandbox: str,
    command: tuple[str, ...],
    cwd: str | None,
    user: str | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
    timeout: float | None,
    shell: bool,
    tty: bool,
    session: str | None,
) -> None:
    """Run COMMAND in SANDBOX: `wardian exec SANDBOX -- ls -l`.

    Standard input is passed on unless it is a terminal. The exit code is the command's, 124 if it
    was stopped at its timeout, 125 if Wardian failed. Ctrl-C kills the command; in a terminal
    (`-t`) it is a key like others, and Enter ~ . kills it.

    In a session directory, variables and functions persist from one command to the next:
    `wardian exec -s work SANDBOX -- cd /tmp`.
    """
    from wardian import Sandbox

    with explained(OWN_FAILURE):
        variables = {**env, **secret_env}
        if tty and session is not None:
            raise click.UsageError("a session's commands have no terminal: leave out -t or -s")
        if tty:
            code = _in_terminal(sandbox, command, cwd, user, variables, timeout, shell)
            raise click.exceptions.Exit(code)
        found = Sandbox.get(sandbox)
        code = _run(found, command, cwd, user, variables, timeout, shell, session)
    raise click.exceptions.Exit(code)


@click.command("run", context_settings=_PASSED_ON)
@click.argument("template")
@click.argument("command", nargs=-1, required=True)
@click.option("-w", "--cwd", help="Where it runs.")
@click.option("-u", "--user", help="Who runs it.")
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="K=V", help="A variable.")
@secret_env_option
@click.option("--timeout", default="1h", callback=lifetime, help="Stop it after this long (1h).")
@click.option("-c", "--shell", is_flag=True, help="COMMAND is one line for a shell.")
@click.option("--cpu", type=float, help="CPUs.")
@click.option("--memory", type=int, metavar="MB", help="Memory in MiB.")
def run_command(
    template: str,
    command: tuple[str, ...],
    cwd: str | None,
    user: str | None,
    env: dict[str, str],
    secret_env: dict[str, Secret],
    timeout: float | None,
    shell: bool,
    cpu: float | None,
    memory: int | None,
) -> None:
    """Run COMMAND in a new sandbox from TEMPLATE, then end it: `wardian run base -- uname -a`.

    Input, output and exit code are as for `exec`.
    """
    from wardian import Limits, Sandbox

    with explained(OWN_FAILURE):
        limits = Limits(cpu=cpu, memory_mb=memory)
        # A minute more than the command has, so that its own timeout is what ends it.
        longest = None if timeout is None else min(timeout + 60, 604800)
        with Sandbox.create(template, timeout=longest, limits=limits) as sandbox:
            code = _run(sandbox, command, cwd, user, {**env, **secret_env}, timeout, shell)
    raise click.exceptions.Exit(code)


def _run(
    sandbox: Sandbox,
    command: tuple[str, ...],
    cwd: str | None,
    user: str | None,
    env: Environment,
    timeout: float | None,
    shell: bool,
    session: str | None = None,
) -> int:
    command = command_words(command)
    # At a terminal nothing is passed on: the command sees the end of input at once.
    has_input = not sys.stdin.closed and not sys.stdin.isatty()
    line = " ".join(command) if shell else list(command)
    if session is None:
        process = sandbox.spawn(
            line,
            cwd=cwd,
            user=user,
            env=env,
            timeout=timeout,
            stdin=has_input,
            output_limit=0,
        )
    else:
        process = sandbox.session(session, user=user).spawn(
            line, cwd=cwd, env=env, timeout=timeout, stdin=has_input, output_limit=0
        )
    try:
        if has_input:
            threading.Thread(target=_feed, args=(process, sys.stdin.buffer), daemon=True).start()
        outputs = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
        for chunk in process:
            output = outputs[chunk.stream]
            output.write(chunk.data)
            output.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        process.kill()
        raise
    assert process.result is not None
    return exit_code_of(process.result)


def _in_terminal(
    sandbox: str,
    command: tuple[str, ...],
    cwd: str | None,
    user: str | None,
    env: Environment,
    timeout: float | None,
    shell: bool,
) -> int:
    from .shell import attach

    if timeout is not None:
        raise click.UsageError("--timeout is for commands without a terminal")
    words = list(command_words(command))
    argv = ["/bin/sh", "-c", " ".join(words)] if shell else words
    return attach(sandbox, argv, name=None, cwd=cwd, user=user, env=env, keep=False)


def command_words(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command as it was given, in its place or behind `--`."""
    if command[0] == "--":
        command = command[1:]
    elif command[0].startswith("-"):
        raise click.UsageError(f"{command[0]} stands behind its place: options come first")
    if not command:
        raise click.UsageError("a command is missing")
    return command


def _feed(process: Process, source: BinaryIO) -> None:
    """Pass input on until it ends; when the command ends first, nobody waits for this."""
    from wardian import WardianError

    try:
        while data := os.read(source.fileno(), _INPUT_CHUNK):
            process.stdin.write(data)
        process.stdin.close()
    except (WardianError, OSError, ValueError):
        # The command closed its input or has ended: how it ended is told by its exit code.
        return


def exit_code_of(result: CommandResult) -> int:
    """The exit code a shell would give: 128 + n where signal n ended the command."""
    if result.exit_code >= 0:
        return min(result.exit_code, 255)
    if result.exit_code < -1:
        return 128 - result.exit_code
    text = result.status.removeprefix("signal: ").removesuffix(" (core dumped)").lower()
    for number in signal.valid_signals():
        if text in ((signal.strsignal(number) or "").lower(), f"signal {int(number)}"):
            return 128 + number
    return OWN_FAILURE
