"""What the doctor can find."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARNING = "warning"
    #: A node can't run without it.
    MISSING = "missing"


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Args:
        topic: which part of the machine: kernel, cgroups, runtimes, storage, node.
        name: what was looked at.
        state: how grave.
        value: what was found, in a few words.
        why: what it means, when it is not ok.
        mend: the command that mends it.
    """

    topic: str
    name: str
    state: State
    value: str
    why: str | None = None
    mend: str | None = None


class Isolation(Struct, frozen=True):
    """How well a sandbox of the class is kept apart on this machine.

    Args:
        isolation_class: ``container`` or ``gvisor``.
        grade: ``strong``, ``shared kernel``, ``weak`` or ``none``.
        words: what stands between a sandbox and the host.
    """

    isolation_class: str
    grade: str
    words: str


class Diagnosis(Struct, frozen=True):
    """Everything: ``ok`` is false when something essential is missing."""

    ok: bool
    isolation: list[Isolation]
    findings: list[Finding]
