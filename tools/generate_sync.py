"""Writes the SDK's blocking half, `sdk/_sync/`, from its asyncio half, `sdk/_async/`.

python tools/generate_sync.py           writes it
python tools/generate_sync.py --check   only says whether it is up to date (exit code 1: it is not)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync  # pyright: ignore[reportMissingTypeStubs]

SDK = Path(__file__).resolve().parent.parent / "src" / "wardian" / "sdk"
BANNER = "# Generated from _async/{name} by tools/generate_sync.py: change it there.\n"
WORDS = {
    "AsyncAgent": "Agent",
    "AsyncBackgroundCommands": "BackgroundCommands",
    "AsyncBackgroundProcess": "BackgroundProcess",
    "AsyncClient": "Client",
    "AsyncCalls": "Calls",
    "AsyncCommands": "Commands",
    "AsyncCompanion": "Companion",
    "AsyncConnection": "Connection",
    "AsyncSandboxEgress": "SandboxEgress",
    "AsyncEgressCalls": "EgressCalls",
    "AsyncEgressEvents": "EgressEvents",
    "AsyncEvents": "Events",
    "AsyncFileArchives": "FileArchives",
    "AsyncFileContent": "FileContent",
    "AsyncFileTree": "FileTree",
    "AsyncExposure": "Exposure",
    "AsyncFiles": "Files",
    "AsyncGit": "Git",
    "AsyncMessages": "Messages",
    "AsyncPlaceholders": "Placeholders",
    "AsyncPreviews": "Previews",
    "AsyncProcess": "Process",
    "AsyncResponse": "Response",
    "AsyncSandbox": "Sandbox",
    "AsyncSecretCalls": "SecretCalls",
    "AsyncSecrets": "Secrets",
    "AsyncSession": "Session",
    "AsyncSessions": "Sessions",
    "AsyncStdin": "Stdin",
    "AsyncStream": "Stream",
    "AsyncTerminal": "Terminal",
    "AsyncTerminals": "Terminals",
    "AsyncTlsStream": "Stream",
    "AsyncTransport": "Transport",
    "AsyncWatch": "Watch",
    "AsyncWatching": "Watching",
    "AsyncTurn": "Turn",
    "AsyncWebSocket": "WebSocket",
    "async_alongside": "alongside",
    "async_deliver": "deliver",
    "async_each_chunk": "each_chunk",
    "async_sleep": "sleep",
}


def generate(target: Path) -> None:
    """Write the blocking half into `target`."""
    sources = sorted((SDK / "_async").glob("*.py"))
    rule = unasync.Rule(fromdir="/_async/", todir=f"/{target.name}/", additional_replacements=WORDS)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "_async")
        work.mkdir()
        for source in sources:
            (work / source.name).write_text(source.read_text())
        unasync.unasync_files([str(path) for path in work.glob("*.py")], [rule])  # pyright: ignore
        target.mkdir(exist_ok=True)
        for source in sources:
            text = Path(folder, target.name, source.name).read_text()
            if text:
                text = BANNER.format(name=source.name) + text
            (target / source.name).write_text(text)
    names = [str(target / source.name) for source in sources]
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(SDK.parents[2] / "pyproject.toml")]
    # Shorter words make shorter lines, and two names may have become one.
    fixes = ["--fix-only", "--unsafe-fixes", "--select", "I,F811,UP028"]
    subprocess.run([*ruff, "check", "--quiet", *fixes, *config, *names], check=True)
    subprocess.run([*ruff, "format", "--quiet", *config, *names], check=True)


def drift() -> list[str]:
    """The names of generated files that are not what they should be."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "_sync")
        generate(fresh)
        expected = {path.name: path.read_text() for path in fresh.glob("*.py")}
    present = {path.name: path.read_text() for path in (SDK / "_sync").glob("*.py")}
    names = expected.keys() | present.keys()
    return sorted(name for name in names if expected.get(name) != present.get(name))


def main() -> int:
    """Generate, or check."""
    if sys.argv[1:] == ["--check"]:
        stale = drift()
        for name in stale:
            print(f"_sync/{name} is not what _async/{name} gives", file=sys.stderr)
        return 1 if stale else 0
    generate(SDK / "_sync")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
