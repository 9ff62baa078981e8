"""`doctor`: what this machine can do."""

from __future__ import annotations

import click

from ._failures import Failure


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(as_json: bool) -> None:
    """Say what this machine can do, what is missing, and how to mend it."""
    try:
        from wardian.server.node import doctor
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing", "pip install 'wardian[server]'") from error
    raise click.exceptions.Exit(doctor.main(as_json=as_json))
