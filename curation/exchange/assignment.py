"""Who labels what: rows given to named annotators, balanced, so that nobody sees a pair twice."""

from __future__ import annotations

import csv
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.batch.presentation import ExportHeader, Presented, keyed_hash
from curation.errors import ExportError

COLUMNS = ("batch_id", "pair_id", "copy", "left_id", "right_id", "annotator")
_NAME = re.compile(r"\w[\w.@+-]{0,63}")  # goes into names of files, and into cells that no spreadsheet runs


@dataclass(frozen=True)
class Annotator:
    """Somebody who labels. quota: rows at most; None: as many as fall to her."""

    name: str
    quota: int | None = None


def parse_annotators(text: str) -> tuple[Annotator, ...]:
    """People of `ana,ben=40,cem`: names, with a number of rows at most after `=`. Raises ExportError."""
    people = []
    for part in text.split(","):
        name, mark, number = (piece.strip() for piece in unicodedata.normalize("NFC", part).partition("="))
        if not _NAME.fullmatch(name):
            raise ExportError(
                f"annotator {name[:80]!r} is no name: it must begin with a letter or digit and hold up to 64 letters, "
                "digits, and . @ + - _ ; separate names by commas."
            )
        if mark and not (re.fullmatch(r"[0-9]{1,9}", number) and int(number)):
            raise ExportError(
                f"quota {number[:80]!r} of {name} is not a whole number of 1 or more; write {name}=40, or the "
                "name alone."
            )
        people.append(Annotator(name, int(number) if mark else None))
    taken = Counter(person.name.casefold() for person in people)
    twice = next((person.name for person in people if taken[person.name.casefold()] > 1), None)
    if twice is not None:
        raise ExportError(f"annotator {twice} is named twice; name everybody once.")
    return tuple(people)


def assign(rows: Sequence[Presented], people: Sequence[Annotator], header: ExportHeader) -> list[str]:
    """The name of each row's annotator. Different rows of a pair go to different people; shares differ by one at most.

    A quota caps a share, and the others take the rest. Drawn with the batch's seed: the same batch and people give the
    same lists. Raises ExportError where a pair goes out more often than there are people, or the quotas do not do.
    """
    by_pair: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_pair[row.pair_id].append(number)
    most = max(map(len, by_pair.values()))
    if most > len(people):
        pair = next(pair for pair, numbers in by_pair.items() if len(numbers) == most)
        raise ExportError(
            f"pair {pair} goes out {most} times and {len(people)} annotators are named, so somebody would see it "
            f"twice; name {most} or more, or show each copy one way only (--order random)."
        )
    draw = random.Random(keyed_hash(header.batch_seed, "assignment"))
    order = draw.sample(range(len(people)), len(people))  # who gets the odd row
    left = _shares(len(rows), [_cap(person, len(by_pair)) for person in people], order)
    pairs = list(by_pair)
    draw.shuffle(pairs)
    names = [""] * len(rows)
    for pair in pairs:
        # The largest remaining shares first: this finds an assignment wherever there is one (Gale and Ryser).
        ranked = sorted(range(len(people)), key=lambda n: (-left[n], draw.random()))
        chosen = ranked[: len(by_pair[pair])]
        if not left[chosen[-1]]:
            raise ExportError(
                f"the quotas leave no two different people for pair {pair}; raise the lowest ones or name more people."
            )
        draw.shuffle(chosen)
        for row_number, person in zip(by_pair[pair], chosen, strict=True):
            names[row_number] = people[person].name
            left[person] -= 1
    return names


def _cap(person: Annotator, pairs: int) -> int:
    return pairs if person.quota is None else min(person.quota, pairs)


def _shares(rows: int, caps: Sequence[int], order: Sequence[int]) -> list[int]:
    """Rows of each person, as equal as the caps allow. Raises ExportError where the caps hold fewer than `rows`."""
    if sum(caps) < rows:
        raise ExportError(
            f"{rows:,} rows go out and the annotators take {sum(caps):,} at most (quotas, and each pair once); raise "
            "the quotas or name more people."
        )
    shares, rest = [0] * len(caps), rows
    while rest:
        open_ = [n for n in order if shares[n] < caps[n]]
        step = max(1, min(rest // len(open_), *(caps[n] - shares[n] for n in open_)))
        for n in open_[: rest // step]:
            shares[n] += step
            rest -= step
    return shares


def write_assignments(path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
    """CSV of who was given which row, without its texts."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([header.batch_id, row.pair_id, row.copy, row.left_id, row.right_id, row.annotator])
