"""Whose answers these are: one name for one person across a tool's exports, and a name for files that give none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from curation.errors import ImportLabelsError
from curation.exchange.cells import UNNAMED, is_text
from curation.exchange.decode import Decoded
from curation.exchange.incoming import RawLabel
from curation.pool.labels import Label, reserved

Place = tuple[str, str, str, int]  # pair, annotator, which side a stood on, copy: what an annotator answers once


def place_of(label: Label) -> Place:
    """What an annotator answers once."""
    return label.pair_id, label.annotator, label.left, label.copy


def annotations_of(decoded: Decoded) -> list[list[Any]]:
    """What is kept of a tool's annotations beside the labels: id, times, place of the label, number of the user."""
    return [
        [raw.annotation_id, raw.created, raw.at, *place_of(label), raw.user]
        for label, raw in zip(decoded.labels, decoded.held, strict=True)
        if raw.annotation_id is not None or raw.at is not None
    ]


def further_of(decoded: Decoded) -> list[list[Any]]:
    """What was said beside the answers that are kept: the place of each label, and text by control or column."""
    return [
        [*place_of(label), dict(raw.further)]
        for label, raw in zip(decoded.labels, decoded.held, strict=True)
        if raw.further
    ]


def with_name(raw: Sequence[RawLabel], name: str | None) -> list[RawLabel]:
    """The answers, those of nobody named under `name`. Raises ImportLabelsError where there is none of them."""
    if taken := next((answer.annotator for answer in raw if reserved(answer.annotator)), None):
        raise ImportLabelsError(
            f"the file has answers of {taken!r:.80}, a name kept for answers that are no person's (settled pairs, "
            "models); rename that annotator in the file and import it again."
        )
    if name is None:
        return list(raw)
    clean = name.strip()
    taken_name = clean == UNNAMED or reserved(clean)
    if not clean or taken_name or not clean.isprintable() or not is_text(clean) or len(clean) > 200:
        raise ImportLabelsError(
            f"--annotator {name!r:.80} is no name; give up to 200 printable characters, other than {UNNAMED!r}."
        )
    if raw and not any(answer.annotator in (UNNAMED, clean) for answer in raw):
        raise ImportLabelsError(
            f"every answer of the file names its annotator (first: {raw[0].annotator!r:.80}), so --annotator "
            f"{clean!r} is for none of them; leave it out."
        )
    return [replace(answer, annotator=clean) if answer.annotator == UNNAMED else answer for answer in raw]


def same_people(raw: Sequence[RawLabel], earlier: Iterable[Mapping[str, Any]]) -> list[RawLabel]:
    """The answers, with the names that the same annotations have in earlier imports.

    A tool's user is a number in one export and an address in another. They are one person where an annotation of the
    same id, pair and time of creation is known, one of its two names is a number, and no other number is told.
    """
    known: dict[tuple[Any, Any, Any], tuple[str, str | None]] = {}
    for counts in earlier:
        for number, created, _, pair, annotator, _, _, user in counts.get("annotations") or ():
            known[number, created, pair] = annotator, user
    names: dict[str, set[str]] = {}
    for answer in raw:
        name, user = known.get((answer.annotation_id, answer.created, answer.pair_id), (answer.annotator, None))
        if name != answer.annotator and (name.isdigit() or answer.annotator.isdigit()):
            numbers = {_number(name, user), _number(answer.annotator, answer.user)} - {None}
            if len(numbers) == 1:
                names.setdefault(answer.annotator, set()).add(name)
    one = {name: next(iter(found)) for name, found in names.items() if len(found) == 1}
    return [replace(answer, annotator=one.get(answer.annotator, answer.annotator)) for answer in raw]


def _number(name: str, user: str | None) -> str | None:
    return user or (name if name.isdigit() else None)


def newer_only(decoded: Decoded, earlier: Iterable[Mapping[str, Any]]) -> list[Label]:
    """The labels that are no older, by the tool's own times, than those that earlier imports kept at their places."""
    times: dict[Place, float | None] = {}
    for counts in earlier:
        for _, _, at, pair, annotator, left, copy, _ in counts.get("annotations") or ():
            times[pair, annotator, left, copy] = at
    return [
        label
        for label, raw in zip(decoded.labels, decoded.held, strict=True)
        if raw.at is None or raw.at >= (times.get(place_of(label)) or 0.0)
    ]


def check_unnamed(labels: Sequence[Label], kept: Sequence[Label]) -> None:
    """Raises ImportLabelsError where answers of nobody named would replace other answers of nobody named."""
    held = {place_of(label): label for label in kept if label.annotator == UNNAMED}
    clash = [
        label.pair_id
        for label in labels
        if (before := held.get(place_of(label))) is not None
        and (before.outcome, before.strength, before.both_bad) != (label.outcome, label.strength, label.both_bad)
    ]
    if clash:
        raise ImportLabelsError(
            f"{len(clash):,} answers of this file (first: pair {clash[0]}) name no annotator and differ from answers "
            "that are kept, which name none either; one person's answers never replace another's: say whose file it is "
            "with --annotator NAME, or fill in its column `annotator`. Nothing was imported."
        )
