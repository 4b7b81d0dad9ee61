"""Thousands of changed inputs over every target, each in a child of its own limits (`python -m tests.fuzz` for more)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.runner import plan, run, table, write_input
from tests.fuzz.targets import TARGETS
from tests.fuzz.world import make

SEED, INPUTS = 20, 4000


@pytest.mark.slow
def test_every_changed_input_ends_in_success_or_in_a_sentence(tmp_path: Path) -> None:
    kept = dict(os.environ)
    try:
        parts = plan(INPUTS)
        assert sum(len(numbers) for _, numbers in parts) >= INPUTS
        assert len(TARGETS) == 16
        tallies = run(make(tmp_path / "world"), parts, seed=SEED, scratch=tmp_path / "inputs")
    finally:
        os.environ.clear()
        os.environ |= kept
    told = table(tallies)
    assert not [one for tally in tallies.values() for one in tally.bad], told
    assert set(tallies) == set(TARGETS)
    assert sum(tally.counts.total() for tally in tallies.values()) >= INPUTS
    for name, tally in tallies.items():
        assert tally.counts["sentence"] + (name == "binary") > 0, f"nothing was changed for the worse: {name}\n{told}"


@pytest.mark.slow
def test_the_same_seed_makes_the_same_inputs_and_a_fault_is_found(tmp_path: Path) -> None:
    """The harness can fail: an error of its own kind, a death and a slow input are each counted as what they are."""
    kept = dict(os.environ)
    try:
        world = make(tmp_path / "world")
        for target in TARGETS:
            first, second = (write_input(world, target, 3, 1, tmp_path / name / target) for name in "ab")
            if first.is_file() and first.suffix not in (".parquet",):
                assert first.read_bytes() == second.read_bytes(), target
        found = {}
        for name, use in FAULTS.items():
            before = TARGETS["pins"]
            TARGETS["pins"] = type(before)(before.make, use, before.share)
            try:
                tallies = run(world, [("pins", range(2))], seed=0, scratch=tmp_path / f"inputs-{name}")
            finally:
                TARGETS["pins"] = before
            found[name] = dict(tallies["pins"].counts)
    finally:
        os.environ.clear()
        os.environ |= kept
    assert found == {"bug": {"bug": 2}, "died": {"died": 2}, "room": {"bug": 2}}


def _bug(world: object, path: Path) -> None:
    raise KeyError("x")


def _die(world: object, path: Path) -> None:
    os.abort()


def _fill(world: object, path: Path) -> None:
    bytearray(3 << 30)


FAULTS = {"bug": _bug, "died": _die, "room": _fill}
