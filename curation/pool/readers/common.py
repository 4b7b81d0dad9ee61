"""What all readers share: turning validated rows into prompts, keeping count of every row, and telling rejects."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from curation.pool.files.lines import Row
from curation.pool.messages import beyond_text, decoded, literal, response_text, unread_fields
from curation.pool.schema import (
    CanonicalResponse,
    CanonicalRow,
    Message,
    Prompt,
    Reject,
    Response,
    as_identifier,
    as_messages,
    as_name,
    content_id,
    is_outcome,
    plain_reason,
    prompt_text,
)

Label = tuple[str, str, str, float]
_MAY_BE_MESSAGES = "[{a \t\r\n"  # how a cell of messages may begin
UNKNOWN_NAMES = frozenset(("nan", "n/a", "<na>", "#n/a"))  # how tables spell a name that is not there
RowModel = TypeVar("RowModel", bound=BaseModel)


class RowError(ValueError):
    """Why a row cannot be used; becomes the reason of its reject."""


@dataclass
class Collected:
    """The pool while it is read. rows == used + len(rejects) holds when reading is over."""

    rows: int = 0
    used: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    quality: dict[tuple[str, str], float] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    prompt_lines: dict[str, int] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)  # occurrences of prompt ids made from texts

    def reject(self, row: Row, reason: str) -> None:
        """Put a row aside, with its reason (and its file, where the pool is a folder)."""
        self.rejects.append(Reject(row.line, f"{row.where}: {reason}" if row.where else reason, row.raw()))

    def readable(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Counts every row and passes on those that could be read at all."""
        for row in rows:
            self.rows += 1
            if row.error:
                self.reject(row, row.error)
            else:
                yield row

    def note(self, text: str, count: int = 1) -> None:
        """Count something worth telling; `text` is told once, with its count in front."""
        self.notes[text] += count

    def note_unused(self, row: Row, known: frozenset[str]) -> None:
        """Name the fields of a row that no reader looks at."""
        for name in row.data:
            if name not in known:
                self.notes[f"rows hold the field {name!r}, which is not used"] += 1

    def note_messages(self, *values: Any) -> None:
        """Name the fields of raw messages that no reader looks at."""
        for value in values:
            for name in unread_fields(value):
                self.notes[f"messages hold the field {name!r}, which is not used"] += 1


def validated(model: type[RowModel], data: dict[str, Any]) -> RowModel:
    """`data` as a `model`; raises RowError that names the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RowError(plain_reason(error)) from None


def collect_row(collected: Collected, row: Row, parse: Callable[[dict[str, Any]], CanonicalRow]) -> None:
    """Read a row that is a whole prompt by `parse` and add it, or reject it."""
    try:
        add_prompt(collected, row, parse(row.data))
    except RowError as error:
        collected.reject(row, str(error))


def add_prompt(collected: Collected, row: Row, raw: CanonicalRow) -> None:
    """Add one validated prompt with its outcomes. Raises RowError for anything that its fields alone cannot show."""
    if len(raw.responses) < 2:
        raise RowError(f"has {len(raw.responses)} responses; at least two are needed to form a pair")
    prompt_id = raw.prompt_id
    if prompt_id is None:
        prompt_id = unused(content_id(prompt_text(raw.prompt)), collected.prompt_lines, collected.met)
        if "-" in prompt_id:
            collected.note("rows repeat the prompt of an earlier row; kept apart, with an occurrence suffix")
    elif prompt_id in collected.prompt_lines:
        raise RowError(f"prompt_id {prompt_id!r} was already used by line {collected.prompt_lines[prompt_id]}")
    answers = [
        (r.text, None) if r.messages is None and r.text[:1] not in _MAY_BE_MESSAGES else _answer(r, number)
        for number, r in enumerate(raw.responses)
    ]
    ids = response_ids([response.response_id for response in raw.responses], [text for text, _ in answers])
    index = {response_id: position for position, response_id in enumerate(ids)}
    pairs = None if raw.pairs is None else _pairs(raw.pairs, index, collected)
    labels = _labels(prompt_id, raw.labels, index)
    metas = [clean_meta(r.meta, collected) for r in raw.responses]
    collected.prompts.append(
        Prompt(
            prompt_id=prompt_id,
            prompt=raw.prompt,
            responses=tuple(
                Response(response_id, text, r.generator, r.reference_logprob, meta, messages)
                for response_id, r, (text, messages), meta in zip(ids, raw.responses, answers, metas, strict=True)
            ),
            pairs=pairs,
            stratum=raw.stratum,
            weight=1.0 if raw.prompt_weight is None else raw.prompt_weight,
            meta=clean_meta(raw.meta, collected),
        )
    )
    collected.prompt_lines[prompt_id] = row.line
    collected.labels.extend(labels)
    for response_id, response in zip(ids, raw.responses, strict=True):
        if response.quality is not None:
            collected.quality[prompt_id, response_id] = response.quality
    collected.used += 1


def response_ids(given: list[str | None], texts: list[str]) -> list[str]:
    """Ids of one prompt's responses: as given, else hashes of the text, `-2` for its second occurrence.

    Raises RowError when a given id is repeated.
    """
    taken: dict[str, int] = {}
    for position, response_id in enumerate(given):
        if response_id is None:
            continue
        if response_id in taken:
            first = taken[response_id]
            raise RowError(f"response_id {response_id!r} appears twice (responses {first} and {position}, from 0)")
        taken[response_id] = position
    ids = []
    met: dict[str, int] = {}
    for position, (response_id, text) in enumerate(zip(given, texts, strict=True)):
        if response_id is None:
            response_id = unused(content_id(text), taken, met)
            taken[response_id] = position
        ids.append(response_id)
    return ids


def unused(wanted: str, taken: Container[str], met: dict[str, int]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3`, ...: the first that is not taken.

    met: the last occurrence of each id so far, kept between calls: ids are never given back, so the search goes on
    from there, and a thousand repeats take a thousand steps.
    """
    occurrence = met.get(wanted, 0) + 1
    candidate = wanted if occurrence == 1 else f"{wanted}-{occurrence}"
    while candidate in taken:
        occurrence += 1
        candidate = f"{wanted}-{occurrence}"
    met[wanted] = occurrence
    return candidate


def clean_meta(meta: dict[str, Any], collected: Collected) -> dict[str, Any]:
    """`meta` without anything that is named like an outcome, at any depth."""
    kept = {}
    for key, value in meta.items():
        if is_outcome(key):
            collected.note(f"meta fields named {key!r} left out: an outcome must not travel with the pool")
        else:
            kept[key] = clean_meta(value, collected) if isinstance(value, dict) else value
    return kept


def _answer(response: CanonicalResponse, number: int) -> tuple[str, tuple[Message, ...] | None]:
    """Text of a response and, where text is not all of it, its messages."""
    if response.messages:
        messages = beyond_text(response.messages)
        return response.text if messages and response.text else response_text(response.messages), messages
    try:
        found = decoded(response.text)
        if isinstance(found, str):
            return found, None
        told = as_messages(found)
    except ValueError as error:
        raise RowError(f"field responses[{number}].text {error}") from None
    return response_text(told), beyond_text(told)


def outcome_or_none(value: Any, name: str, collected: Collected | None) -> float | None:
    """A known outcome as a number, however it is spelled; None where there is none, or none that can be read.

    What cannot be read is counted in the notes and costs no row.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value.replace("_", "?") if isinstance(value, str) else value)
        if math.isfinite(number) and isinstance(value, str | int | float | Decimal):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    if collected is not None:
        collected.note(f"values of {name!r} are no number and were left out; their rows are used")
    return None


def list_or_cell(value: Any) -> Any:
    """A list that arrives as the text of one, as a list; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "(")):
        found = literal(value)
        return list(found) if isinstance(found, list | tuple) else value
    return value


def number_or_none(value: Any, name: str, *, textual: bool = False) -> float | None:
    """A finite number or None for null (and for an empty CSV cell). Raises RowError naming the field."""
    if value is None or (textual and isinstance(value, str) and not value.strip()):
        return None
    if (isinstance(value, float) and math.isnan(value)) or (textual and _says_unknown(value)):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    if textual and isinstance(value, str):
        try:
            value = float(value.replace("_", "?"))  # Python reads 1_0 as 10; a table that says so means something else
        except ValueError:
            raise RowError(f"field {name} must be a number, not {value[:40]!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"field {name} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RowError(f"field {name} must be a finite number")
    return number


def positive_or_none(value: Any, name: str, *, textual: bool = False) -> float | None:
    """A finite number above 0, or None. Raises RowError naming the field."""
    number = number_or_none(value, name, textual=textual)
    if number is not None and number <= 0:
        raise RowError(f"field {name} must be above 0")
    return number


def name_or_none(value: Any, name: str) -> str | None:
    """The name of a generator or a stratum, or None; NaN and N/A are none. Raises RowError naming the field."""
    try:
        found = as_name(value)
    except ValueError as error:
        raise RowError(f"field {name} {error}") from None
    return None if found is None or _says_unknown(found) else found


def _says_unknown(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in UNKNOWN_NAMES


def identifier_or_none(value: Any, name: str) -> str | None:
    """An id or name as text, or None. Raises RowError naming the field."""
    try:
        return as_identifier(value)
    except ValueError as error:
        raise RowError(f"field {name} {error}") from None


def _known(name: str, index: dict[str, int], kind: str) -> int:
    if name not in index:
        raise RowError(f"{kind} names the response {name!r}, which this prompt does not have")
    return index[name]


def _pairs(pairs: list[tuple[str, str]], index: dict[str, int], collected: Collected) -> tuple[tuple[int, int], ...]:
    edges = set()
    for first, second in pairs:
        i, j = _known(first, index, "a pair"), _known(second, index, "a pair")
        if i == j:
            raise RowError(f"a pair compares the response {first!r} with itself")
        if (min(i, j), max(i, j)) in edges:
            collected.note("repeated pairs merged")
        edges.add((min(i, j), max(i, j)))
    if not edges:
        raise RowError("field pairs is empty; leave it out to allow every pair")
    return tuple(sorted(edges))


def _labels(prompt_id: str, labels: list[tuple[str, str, float]], index: dict[str, int]) -> list[Label]:
    for first, second, _ in labels:
        if _known(first, index, "a label") == _known(second, index, "a label"):
            raise RowError(f"a label compares the response {first!r} with itself")
    return [(prompt_id, first, second, probability) for first, second, probability in labels]
