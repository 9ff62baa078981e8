"""Archives unpacked inside a sandbox, as root, that reach for what lies beside the directory."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from contextlib import suppress

import pytest

from wardian import FileError, Sandbox

from .hostile_tar import HARMLESS, REFUSED, Entry, tar

_OUTSIDE = "/outside"
_CASES: dict[str, Callable[[str], bytes]] = {**REFUSED, **HARMLESS}


@pytest.fixture
def elsewhere(base: Sandbox) -> str:
    """A directory of the sandbox that must stay as it is."""
    base.files.remove(_OUTSIDE)
    base.files.remove("/target")
    base.files.write(f"{_OUTSIDE}/kept", "safe", user="root")
    return _OUTSIDE


def _is_untouched(sandbox: Sandbox) -> None:
    assert [entry.path for entry in sandbox.files.list(_OUTSIDE)] == [f"{_OUTSIDE}/kept"]
    assert sandbox.files.read(f"{_OUTSIDE}/kept") == "safe"
    links = sandbox.run(f"stat -c %h {_OUTSIDE}/kept; ls -d /escaped /tmp/escaped", user="root")
    assert links.stdout == "1\n"


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("links", ["inside", "any"])
def test_an_archive_stays_below_its_directory(
    base: Sandbox, elsewhere: str, case: str, links: str
) -> None:
    code = None
    try:
        base.files.unpack(_CASES[case](elsewhere), "/target", links=links, user="root")  # type: ignore[arg-type]
    except FileError as error:
        code = error.code
    assert code in (None, "invalid_archive"), code
    _is_untouched(base)
    kinds = {entry.type.value for entry in base.files.list("/target", recursive=True)}
    assert kinds <= {"file", "directory", "symlink"}
    for entry in base.files.list("/target", recursive=True):
        assert entry.mode & 0o6000 == 0
        if links == "inside" and entry.is_symlink:
            resolved = base.run(["readlink", "-m", entry.path]).stdout
            assert resolved.startswith("/target"), entry


def test_what_lies_there_is_not_written_through(base: Sandbox, elsewhere: str) -> None:
    base.files.symlink(elsewhere, "/target/away", user="root")
    base.files.symlink(f"{elsewhere}/kept", "/target/file", user="root")
    archive = tar(
        Entry("away/new"),
        Entry("away/", tarfile.DIRTYPE),
        Entry("file", content=b"evil"),
        Entry("h", tarfile.LNKTYPE, target="away/kept"),
    )
    report = base.files.unpack(archive, "/target", user="root")
    assert {skipped.path for skipped in report.skipped} == {"away/new", "away/", "h"}
    assert base.files.read("/target/file") == "evil"
    _is_untouched(base)


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(
    base: Sandbox, elsewhere: str
) -> None:
    """Somebody inside swaps a directory for a link again and again while root unpacks into it."""
    base.files.mkdir("/target", user="root")
    swap = "cd /target; while :; do mkdir d; rm -rf d; ln -s /outside d; rm -f d; done"
    swapper = base.spawn(["sh", "-c", swap], user="root")
    try:
        archive = tar(*(Entry(f"d/escaped-{number}") for number in range(300)))
        for _ in range(10):
            # What loses the race against the removal is refused; where it lands is what counts.
            with suppress(FileError):
                base.files.unpack(archive, "/target", user="root")
    finally:
        swapper.kill()
    _is_untouched(base)
