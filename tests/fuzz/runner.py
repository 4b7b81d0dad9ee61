"""Forked children read the inputs, a few each: a child that dies, hangs or fills its memory names the input it was at."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from curation.errors import CurationError
from tests.fuzz.targets import TARGETS, check_sentence
from tests.fuzz.world import World

SECONDS = 60.0  # of one input, on a busy machine
ROOM = 2 << 30  # bytes a child may take on top of what it begins with
CHUNK = 25
ENDS = ("ok", "sentence", "bug", "died", "slow")


@dataclass
class Tally:
    """How the inputs of a target ended, and what the bad ones did."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, int, str, str]] = field(default_factory=list)  # target, number, end, words

    def add(self, target: str, number: int, end: str, words: str = "") -> None:
        """Count one input."""
        self.counts[end] += 1
        if end not in ("ok", "sentence"):
            self.bad.append((target, number, end, words))


def write_input(world: World, target: str, seed: int, number: int, folder: Path) -> Path:
    """The input of a number: the same for the same seed, whatever ran before it."""
    folder.mkdir(parents=True)
    return TARGETS[target].make(world, Random(f"{seed}:{target}:{number}"), folder)


def plan(inputs: int, target: str | None = None) -> list[tuple[str, range]]:
    """Chunks of each target's inputs, by its share; at least `inputs` altogether."""
    chosen = {target: TARGETS[target]} if target else TARGETS
    whole = sum(each.share for each in chosen.values())
    parts = []
    for name, each in chosen.items():
        count = -(-inputs * each.share // whole)
        parts += [(name, range(start, min(start + CHUNK, count))) for start in range(0, count, CHUNK)]
    return parts


def run(
    world: World, parts: Sequence[tuple[str, range]], *, seed: int, scratch: Path, workers: int = 2
) -> dict[str, Tally]:
    """Read every input. Returns a tally for each target."""
    tallies: dict[str, Tally] = {}
    waiting = [(target, list(numbers)) for target, numbers in parts][::-1]
    running: dict[int, _Child] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            child = _Child(world, *waiting.pop(), seed=seed, scratch=scratch)
            running[child.out] = child
        ready, _, _ = select.select(list(running), [], [], 0.2)
        for out, child in list(running.items()):
            ended = child.read(tallies) if out in ready else False
            if ended or child.late():
                left = child.finish(tallies, late=not ended)
                del running[out]
                if left:
                    waiting.append((child.target, left))
    return tallies


class _Child:
    """One forked process and what it has said so far."""

    def __init__(self, world: World, target: str, numbers: list[int], *, seed: int, scratch: Path) -> None:
        self.target, self.numbers, self.current, self.begun = target, numbers, numbers[0], time.monotonic()
        self.folder = scratch / f"{target}-{numbers[0]}"
        self.out, inward = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.out)
            _work(world, target, numbers, seed, self.folder, inward)
        os.close(inward)
        self._rest = b""

    def read(self, tallies: dict[str, Tally]) -> bool:
        """Take in what it wrote; whether it is over."""
        data = os.read(self.out, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            number, end, words = json.loads(line)
            if end == "begin":
                self.current, self.begun = number, time.monotonic()
            else:
                tallies.setdefault(self.target, Tally()).add(self.target, number, end, words)
                self.numbers.remove(number)
        return not data

    def late(self) -> bool:
        """Whether its present input takes too long."""
        return time.monotonic() - self.begun > SECONDS

    def finish(self, tallies: dict[str, Tally], *, late: bool) -> list[int]:
        """End it; the inputs that are left for another."""
        if late:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.out)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.numbers:
            return []
        if self.current not in self.numbers:  # it ended between two inputs
            self.current = self.numbers[0]
        self.numbers.remove(self.current)
        words = f"over {SECONDS:g} s" if late else f"exit {os.waitstatus_to_exitcode(status)}"
        tallies.setdefault(self.target, Tally()).add(self.target, self.current, "slow" if late else "died", words)
        return self.numbers


def _work(world: World, target: str, numbers: Sequence[int], seed: int, folder: Path, out: int) -> None:
    """The child: never returns."""
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        for number in numbers:
            place = folder / str(number)
            os.write(out, json.dumps([number, "begin", ""]).encode() + b"\n")
            try:
                path = write_input(world, target, seed, number, place)
            except Exception:  # a fault of what makes inputs, told like one
                end, words = "bug", f"the input was not made\n{traceback.format_exc()}"
            else:
                end, words = read_input(world, target, path)
            os.write(out, json.dumps([number, end, words[-3000:]]).encode() + b"\n")
            shutil.rmtree(place, ignore_errors=True)
        os._exit(0)
    finally:
        os._exit(70)


def read_input(world: World, target: str, path: Path) -> tuple[str, str]:
    """How an input ends: ok, sentence, or bug with its traceback."""
    try:
        TARGETS[target].use(world, path)
    except CurationError as error:
        try:
            check_sentence(error)
        except AssertionError as problem:
            return "bug", str(problem)
        return "sentence", str(error)
    except Exception:  # what this is here to find
        return "bug", traceback.format_exc()
    return "ok", ""


def table(tallies: dict[str, Tally]) -> str:
    """Target by target, how inputs ended."""
    lines = [f"{'target':10}" + "".join(f"{end:>10}" for end in ENDS)]
    lines += [f"{name:10}" + "".join(f"{tally.counts[end]:>10,}" for end in ENDS) for name, tally in tallies.items()]
    whole = sum((tally.counts for tally in tallies.values()), Counter())
    return "\n".join([*lines, f"{'total':10}" + "".join(f"{whole[end]:>10,}" for end in ENDS)])
