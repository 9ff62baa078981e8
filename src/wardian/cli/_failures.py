"""How errors are told on the command line: `error: …` on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import click

FAILED = 1
TIMED_OUT = 124
OWN_FAILURE = 125


class Failure(click.ClickException):
    """Something failed that a person should read about.

    Args:
        message: What failed.
        hint: What to do.
        exit_code: What the program ends with.
    """

    def __init__(self, message: str, hint: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        # click declares it as the class's, but reads it from the instance.
        self.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue]

    def show(self, file: object = None) -> None:
        """Write it to standard error."""
        # What a sandbox says may hold escape sequences for the terminal.
        click.echo(f"error: {printable(self.message)}", err=True)
        if self.hint:
            click.echo(f"hint: {printable(self.hint)}", err=True)


def printable(text: str) -> str:
    """`text` without characters that steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


@contextmanager
def explained(exit_code: int = FAILED) -> Generator[None]:
    """Turn the SDK's and the system's errors inside into a `Failure`.

    Args:
        exit_code: What the program ends with then.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError:
        # Who read our output has gone: nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(141) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror or error}", exit_code=exit_code) from error
    except ValueError as error:
        raise Failure(str(error), exit_code=exit_code) from error
    except Exception as error:
        from wardian.sdk._errors import CommandTimeout, WardianError

        if not isinstance(error, WardianError):
            raise
        code = TIMED_OUT if isinstance(error, CommandTimeout) else exit_code
        raise Failure(str(error), error.hint, code) from error
