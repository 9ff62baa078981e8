"""What a benchmark says: one value, its baseline, and whether the goal is met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec


class Result(msgspec.Struct, frozen=True):
    """One line of `build/bench.json`."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    """The same work done another way in the same run, in `unit`."""
    baseline_name: str | None = None
    goal: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def as_json(self) -> dict[str, object]:
        return {**msgspec.structs.asdict(self), "met": self.met}


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of `samples`; `percent` is 0 to 100."""
    ordered = sorted(samples)
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return ordered[rank - 1]


def median(samples: Sequence[float]) -> float:
    return percentile(samples, 50)
