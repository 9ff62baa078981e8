"""The quick tour: a real project's tests in a sandbox, then twenty sandboxes side by side.

    python examples/quickstart.py [--url http://127.0.0.1:7300] [--sandboxes 20]

A sandbox reaches nothing outside, so the project and all it needs are fetched here, with pip, and
put in. Downloads are kept in ~/.cache/wardian/quickstart. The key comes from WARDIAN_API_KEY or
from where `wardian serve` left it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from wardian import AsyncSandbox, CommandFailed, Sandbox, WardianError

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wardian" / "quickstart"
HOME = "/home/user"
console = Console()


@dataclass(frozen=True)
class Project:
    """Something on PyPI that brings its tests along.

    Attributes:
        name: Its name there.
        needs: What its tests import.
    """

    name: str
    needs: tuple[str, ...]


LARGE = Project("click", needs=("pytest",))
SMALL = Project("itsdangerous", needs=("pytest", "freezegun"))


@dataclass(frozen=True)
class Download:
    """A project on this machine.

    Attributes:
        source: Its sdist.
        wheels: What it needs, for the sandbox's Python.
    """

    source: Path
    wheels: list[Path]


@dataclass
class Timings:
    """How long each step took, in seconds."""

    steps: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """Take the time of what happens inside."""
        console.rule(f"[bold]{name}", align="left")
        begin = perf_counter()
        yield
        self.steps.append((name, perf_counter() - begin))


@dataclass(frozen=True)
class Outcome:
    """What a test suite's results file says."""

    tests: int
    failed: int
    skipped: int

    @classmethod
    def read(cls, junit: str) -> Outcome:
        """Take the counts out of a file in JUnit's format."""
        suites = ElementTree.fromstring(junit).findall("testsuite")

        def total(*names: str) -> int:
            return sum(int(suite.get(name, "0")) for suite in suites for name in names)

        return cls(total("tests"), total("failures", "errors"), total("skipped"))

    def __str__(self) -> str:
        passed = self.tests - self.failed - self.skipped
        return f"{passed} passed, {self.failed} failed, {self.skipped} skipped"


def fetch(project: Project, python: str, machine: str) -> Download:
    """Download a project and what it needs, unless that has been done before.

    Args:
        project: What to fetch.
        python: The sandbox's Python, such as `3.11`.
        machine: The sandbox's processor, such as `x86_64`.
    """
    folder = CACHE / f"{project.name}-{python}-{machine}"
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
        subprocess.run([*pip, "--no-binary", project.name, "--no-deps", project.name], check=True)
        source = one_source(project, folder)
        target = ["--python-version", python, "--platform", f"manylinux2014_{machine}"]
        wheels = [*project.needs, *build_requirements(source)]
        subprocess.run([*pip, "--only-binary", ":all:", *target, *wheels], check=True)
        complete.touch()
    return Download(one_source(project, folder), sorted(folder.glob("*.whl")))


def one_source(project: Project, folder: Path) -> Path:
    """The sdist in a folder of downloads."""
    (source,) = folder.glob(f"{project.name}-*.tar.gz")
    return source


def build_requirements(source: Path) -> list[str]:
    """What makes a wheel of an sdist, as its pyproject.toml says."""
    with tarfile.open(source) as archive:
        file = archive.extractfile(f"{source.name.removesuffix('.tar.gz')}/pyproject.toml")
        assert file is not None
        return tomllib.loads(file.read().decode())["build-system"]["requires"]


def one_sandbox(timings: Timings, arguments: argparse.Namespace) -> tuple[bool, Download]:
    """Run the large project's whole test suite; says whether it passed, and brings the small."""
    with timings.step("create a sandbox"):
        sandbox = Sandbox.create("base", timeout=1800, url=arguments.url)
    console.print(f"sandbox {sandbox.id}")
    with sandbox:
        with timings.step("ask it for its Python"):
            question = "import sys, platform; print(*sys.version_info[:2], platform.machine())"
            answer = sandbox.run(["python3", "-c", question], check=True).stdout
            major, minor, machine = answer.split()
            console.print(f"Python {major}.{minor} on {machine}")
        with timings.step("fetch the projects on this machine"):
            large, small = (fetch(each, f"{major}.{minor}", machine) for each in (LARGE, SMALL))
            console.print(f"{large.source.name}, {small.source.name} and their wheels")
        with timings.step("put the project in"):
            for path in (large.source, *large.wheels):
                sandbox.files.upload(path, f"{HOME}/download/{path.name}")
            unpack = ["tar", "-xf", f"download/{large.source.name}", "-C", HOME]
            sandbox.run(unpack, cwd=HOME, check=True)
        with timings.step("install it, without a network"):
            sandbox.run(
                f"python3 -m venv venv && venv/bin/pip install --quiet download/*.tar.gz "
                f"{' '.join(LARGE.needs)}",
                cwd=HOME,
                env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{HOME}/download"},
                check=True,
            )
        with timings.step("run its whole test suite"):
            result = sandbox.run(
                [f"{HOME}/venv/bin/pytest", "-q", f"--junitxml={HOME}/results.xml"],
                cwd=f"{HOME}/{large.source.name.removesuffix('.tar.gz')}",
                timeout=900,
                on_stdout=show,
                on_stderr=show,
            )
        with timings.step("read the results back"):
            outcome = Outcome.read(sandbox.files.read(f"{HOME}/results.xml"))
            console.print(f"{LARGE.name}: {outcome}")
        with timings.step("ask what it used"):
            usage = sandbox.usage()
            peak = usage.memory_peak_bytes
            memory = f", {peak / 1e6:.0f} MB of memory at most" if peak else ""
            console.print(f"{usage.cpu_seconds:.2f} CPU seconds{memory}")
        with timings.step("kill it"):
            sandbox.kill()
    return result.ok and outcome.failed == 0 and outcome.tests > 0, small


def show(text: str) -> None:
    """Print what comes from the sandbox, as it comes."""
    print(text, end="", flush=True)


@dataclass(frozen=True)
class Run:
    """One of the sandboxes side by side."""

    started: float
    finished: float
    outcome: Outcome


async def many_sandboxes(small: Download, arguments: argparse.Namespace) -> list[Run]:
    """Run the small project's tests in many sandboxes at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run_small(small, arguments.url)) for _ in range(arguments.sandboxes)
        ]
    return [task.result() for task in tasks]


async def run_small(small: Download, url: str | None) -> Run:
    """Create, fill, test, read, kill."""
    begin = perf_counter()
    async with await AsyncSandbox.create("base", timeout=1800, url=url) as sandbox:
        await sandbox.run(["true"], check=True)
        started = perf_counter() - begin
        for path in (small.source, *small.wheels):
            await sandbox.files.upload(path, f"{HOME}/download/{path.name}")
        await sandbox.run(
            f"tar -xf download/{small.source.name} && python3 -m pip install --quiet --no-compile "
            f"--target site {' '.join(SMALL.needs)}",
            cwd=HOME,
            env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{HOME}/download"},
            timeout=900,
            check=True,
        )
        await sandbox.run(
            ["python3", "-m", "pytest", "-q", f"--junitxml={HOME}/results.xml"],
            cwd=f"{HOME}/{small.source.name.removesuffix('.tar.gz')}",
            # Not installed but run from its source: building twenty wheels would show nothing.
            env={"PYTHONPATH": f"{HOME}/site:src"},
            timeout=900,
        )
        outcome = Outcome.read(await sandbox.files.read(f"{HOME}/results.xml"))
    return Run(started, perf_counter() - begin, outcome)


def print_steps(timings: Timings) -> None:
    """The table of the single sandbox."""
    table = Table("step", title="one sandbox")
    table.add_column("time", justify="right")
    for name, seconds in timings.steps:
        table.add_row(name, duration(seconds))
    console.print(table)


def print_runs(runs: list[Run], seconds: float) -> None:
    """The table of the sandboxes side by side."""
    table = Table("from create to", title=f"{len(runs)} sandboxes side by side")
    for column in ("p50", "p95"):
        table.add_column(column, justify="right")
    for name, samples in (
        ("first command done", [run.started for run in runs]),
        (f"{SMALL.name} tested", [run.finished for run in runs]),
    ):
        high = quantiles(samples, n=20)[-1] if len(samples) > 1 else samples[0]
        table.add_row(name, duration(median(samples)), duration(min(high, max(samples))))
    console.print(table)
    tests = sum(run.outcome.tests for run in runs)
    failed = sum(run.outcome.failed for run in runs)
    console.print(f"{tests} tests, {failed} failed, in {duration(seconds)}")


def duration(seconds: float) -> str:
    """Milliseconds below a second."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def tour(arguments: argparse.Namespace) -> bool:
    """All of it; says whether every test passed."""
    timings = Timings()
    passed, small = one_sandbox(timings, arguments)
    print_steps(timings)
    if not passed:
        console.print(f"[red]the tests of {LARGE.name} did not pass")
    console.rule(f"[bold]{arguments.sandboxes} sandboxes side by side", align="left")
    begin = perf_counter()
    runs = asyncio.run(many_sandboxes(small, arguments))
    print_runs(runs, perf_counter() - begin)
    good = all(run.outcome.failed == 0 and run.outcome.tests > 0 for run in runs)
    if not good:
        console.print(f"[red]the tests of {SMALL.name} did not pass everywhere")
    return passed and good


def main() -> int:
    """Exit code 0 if every step worked and every test passed."""
    parser = argparse.ArgumentParser(description="The quick tour of Wardian.")
    parser.add_argument("--url", help="the server; WARDIAN_URL if not given")
    parser.add_argument("--sandboxes", type=int, default=20, help="how many side by side (20)")
    arguments = parser.parse_args()
    if arguments.sandboxes < 1:
        parser.error("--sandboxes is at least 1")
    try:
        return 0 if tour(arguments) else 1
    except BaseExceptionGroup as group:
        failures = leaves(group)
    except (WardianError, subprocess.CalledProcessError) as error:
        failures = [error]
    for failure in failures:
        console.print(f"error: {failure}", style="red", markup=False, highlight=False)
        if isinstance(failure, CommandFailed):
            console.print(failure.result.stderr[-2000:], markup=False, highlight=False)
        elif isinstance(failure, WardianError) and failure.hint:
            console.print(f"hint: {failure.hint}", markup=False, highlight=False)
    return 1


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """What went wrong in the tasks of a group; anything but errors we know is raised as it is."""
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += leaves(error)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(error, (WardianError, subprocess.CalledProcessError)):
            found.append(error)
        else:
            raise error
    return found


if __name__ == "__main__":
    raise SystemExit(main())
