"""`python -m tests.fuzz --inputs N --seed S [--target T] [--keep FOLDER]`: exit 0 where every input ended as it should."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from tests.fuzz.runner import plan, run, table, write_input
from tests.fuzz.targets import TARGETS
from tests.fuzz.world import make


def main() -> int:
    """Read the inputs and print the table; what ended otherwise is told, and kept where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that ended otherwise")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="pairwright-fuzz-") as place:
        world = make(Path(place) / "world")
        parts = plan(asked.inputs, asked.target)
        tallies = run(world, parts, seed=asked.seed, scratch=Path(place) / "inputs", workers=asked.workers)
        print(table(tallies))
        bad = [one for tally in tallies.values() for one in tally.bad]
        for target, number, end, words in bad:
            print(f"\n{target} {number} (seed {asked.seed}): {end}\n{words}")
            if asked.keep:
                write_input(world, target, asked.seed, number, asked.keep / f"{target}-{asked.seed}-{number}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
