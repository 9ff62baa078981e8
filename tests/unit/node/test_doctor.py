"""The doctor names what is bad, says what mends it, and fails only for what is essential."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from wardian.server.node import doctor
from wardian.server.node.doctor import Diagnosis, State, kernel, runtimes


def fake(directory: Path, name: str, output: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("program", "output", "state"),
    [
        ("runc", "runc version 1.1.5+ds1", State.WARNING),
        ("runc", "runc version 1.2.7", State.WARNING),
        ("runc", "runc version 1.3.2", State.WARNING),
        ("runc", "runc version 1.2.8", State.OK),
        ("runc", "runc version 1.3.3", State.OK),
        ("runc", "runc version 1.5.2", State.OK),
        ("runsc", "runsc version 0.0~20221219.0", State.WARNING),
        ("runsc", "runsc version release-20260905.0", State.OK),
        ("criu", "Version: 3.17.1", State.WARNING),
        ("criu", "Version: 4.2", State.OK),
    ],
)
def test_known_bad_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, output: str, state: State
) -> None:
    fake(tmp_path, program, output)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in runtimes.examine()}[program]
    assert found.state is state
    assert output in found.value
    assert (found.mend is not None) == (state is State.WARNING)
    if state is State.WARNING:
        assert found.why is not None and "known bad" in found.why


def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {f.state for f in runtimes.examine()} == {State.OK}
    assert all("not installed" in finding.value for finding in runtimes.examine())


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDIAN_HOME", str(tmp_path / "home"))
    diagnosis = doctor.diagnose()
    assert {f.name for f in diagnosis.findings if f.topic == "kernel"} >= {"version", "namespaces"}
    assert all(f.mend for f in diagnosis.findings if f.state is State.MISSING)
    assert diagnosis.ok == all(f.state is not State.MISSING for f in diagnosis.findings)
    assert list(tmp_path.iterdir()) == []


def test_the_overlay_is_really_tried(tmp_path: Path) -> None:
    assert kernel.examine(tmp_path)[3].value == f"tried on {tmp_path}"
    (tmp_path / "lower").mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "wardian.server.node.doctor.overlay_probe", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "lower" in result.stdout


@pytest.mark.parametrize("missing", [True, False])
def test_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: bool
) -> None:
    state = State.MISSING if missing else State.WARNING
    finding = doctor.Finding("kernel", "version", state, "1.0", "old", "a newer one")
    diagnosis = Diagnosis(not missing, [doctor.Isolation("container", "none", "x")], [finding])
    monkeypatch.setattr(doctor, "diagnose", lambda: diagnosis)
    assert doctor.main(as_json=True) == int(missing)
    assert msgspec.json.decode(capsys.readouterr().out, type=Diagnosis) == diagnosis
    assert doctor.main() == int(missing)
    assert "a newer one" in capsys.readouterr().out
