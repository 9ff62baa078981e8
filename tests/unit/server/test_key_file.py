"""The key of secrets, as it is and wrapped under a passphrase."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wardian.server.configuration import ConfigurationError
from wardian.server.store.key_file import KeyFile, read_passphrases
from wardian.server.store.sealing import Sealer

FIRST, SECOND = b"correct horse battery", b"staple of another kind"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret.key"


def test_a_wrapped_key_is_not_in_its_file_and_comes_back(path: Path) -> None:
    key = KeyFile(path, [FIRST]).read()
    assert key not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyFile(path, [FIRST]).read() == key
    # Never the same twice: salt and nonce are new with each writing.
    held = path.read_bytes()
    KeyFile(path, [SECOND, FIRST]).read()
    KeyFile(path, [FIRST, SECOND]).read()
    assert path.read_bytes() != held


def test_a_key_that_was_bare_is_wrapped_from_then_on(path: Path) -> None:
    sealed = Sealer.from_file(path).seal(b"value", "x")
    bare = path.read_bytes()
    assert Sealer.from_file(path, [FIRST]).open(sealed, "x") == b"value"
    assert bare not in path.read_bytes()
    with pytest.raises(ConfigurationError, match="--passphrase-file"):
        Sealer.from_file(path)


def test_another_passphrase_opens_nothing_and_changes_nothing(path: Path) -> None:
    KeyFile(path, [FIRST]).read()
    held = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another passphrase"):
        KeyFile(path, [SECOND]).read()
    assert path.read_bytes() == held


def test_a_passphrase_changes_by_a_second_line(path: Path, tmp_path: Path) -> None:
    key = KeyFile(path, [FIRST]).read()
    phrases = tmp_path / "passphrase"
    phrases.write_bytes(SECOND + b"\n" + FIRST + b"\n")
    assert KeyFile(path, read_passphrases(phrases)).read() == key
    assert KeyFile(path, [SECOND]).read() == key
    with pytest.raises(ConfigurationError, match="another passphrase"):
        KeyFile(path, [FIRST]).read()


def test_a_rotation_that_was_cut_off_is_found_wrapped_too(path: Path) -> None:
    sealer = Sealer.from_file(path, [FIRST])
    old = sealer.seal(b"old", "x")
    sealer.begin()
    new = sealer.seal(b"new", "x")
    # As the next process finds it, with another passphrase by then.
    found = Sealer.from_file(path, [SECOND, FIRST])
    assert found.unfinished
    assert (found.open(old, "x"), found.open(new, "x")) == (b"old", b"new")
    found.finish()
    last = Sealer.from_file(path, [SECOND])
    assert not last.unfinished
    assert last.open(new, "x") == b"new"


@pytest.mark.parametrize("at", [3, 25, 40, 60, 97])
def test_a_key_that_was_tampered_with_is_refused(path: Path, at: int) -> None:
    KeyFile(path, [FIRST]).read()
    held = bytearray(path.read_bytes())
    held[at] ^= 1
    path.write_bytes(held)
    with pytest.raises(ConfigurationError):
        KeyFile(path, [FIRST]).read()


@pytest.mark.parametrize("held", [b"", b"\n\n", b"short\n", b"a" * 20 + b"\nshort", b"x" * 5000,
                                  b"\n".join([b"a" * 20] * 3)])  # fmt: skip
def test_a_file_that_holds_no_passphrase_is_refused(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(held)
    with pytest.raises(ConfigurationError, match="at least 12 characters"):
        read_passphrases(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_passphrases(tmp_path / "nowhere")
