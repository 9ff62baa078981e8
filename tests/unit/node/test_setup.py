"""What set-up decides by itself."""

from __future__ import annotations

from wardian.server.node.setup import LEAST_PARKED, MOST_PARKED, parked_for

GIB = 1 << 30


def test_parked_processes_cost_a_small_part_of_the_memory() -> None:
    assert parked_for(GIB // 2) == LEAST_PARKED
    assert parked_for(1024 * GIB) == MOST_PARKED
    few = parked_for(4 * GIB)
    assert LEAST_PARKED < few < parked_for(8 * GIB) < MOST_PARKED
    assert few * 1_000_000 < 4 * GIB / 100
