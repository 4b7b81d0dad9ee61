"""Flat tables: one row per response, columns named by the analyst or guessed from their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.errors import PoolError
from curation.pool.files.lines import Row
from curation.pool.messages import beyond_text, response_text
from curation.pool.prompts import CONTEXT, as_answer, in_context, read_prompt
from curation.pool.readers.common import (
    Collected,
    RowError,
    identifier_or_none,
    name_or_none,
    number_or_none,
    outcome_or_none,
    positive_or_none,
    response_ids,
    unused,
)
from curation.pool.schema import Message, Prompt, Response, content_id, prompt_text

REQUIRED = ("prompt", "response")
_OPTIONAL = ("prompt_id", "response_id", "generator", "quality", "stratum", "reference_logprob", "prompt_weight")
FIELDS = (*REQUIRED, *_OPTIONAL)
CONTINUED = "continued"  # the column that goes on with an instruction
_SYNONYMS = {
    "prompt": "prompt question instruction query input prompt_text user_prompt",
    "response": "response answer output completion response_text answer_text model_output generation text",
    "prompt_id": "prompt_id promptid question_id query_id instruction_id",
    "response_id": "response_id responseid answer_id completion_id generation_id output_id",
    "generator": "generator model model_name generator_name model_id source_model generation_model",
    "quality": "quality score rating reward judge_score gold_score overall_score helpfulness label kto_tag",
    "stratum": "stratum category domain topic task dataset source",
    "reference_logprob": "reference_logprob reference_logp ref_logprob ref_logp ref_logps reference_logps",
    "prompt_weight": "prompt_weight",
}


@dataclass(frozen=True)
class MappingChoices:
    """The columns of a flat file and the fields that they seem to be: field -> column."""

    columns: tuple[str, ...]
    guess: dict[str, str]


@dataclass
class _Group:
    prompt: str | list[Message]
    prompt_id: str | None
    line: int
    rows: list[Row] = field(default_factory=list)
    given: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    messages: list[tuple[Message, ...] | None] = field(default_factory=list)
    answers: list[tuple[str | None, float | None, float | None]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    stratum: str | None = None
    weight: float | None = None


def guess_mapping(columns: Sequence[str]) -> dict[str, str]:
    """field -> column by name; a field that nothing resembles is left out, no column serves twice."""
    plain = {re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_"): column for column in reversed(columns)}
    guess: dict[str, str] = {}
    for name in FIELDS:
        for synonym in _SYNONYMS[name].split():
            if synonym in plain and plain[synonym] not in guess.values():
                guess[name] = plain[synonym]
                break
    return guess


def resolve_mapping(mapping: Mapping[str, str] | None, columns: Sequence[str], place: str) -> dict[str, str]:
    """The mapping to use: as given (prompt and response guessed when absent), else the guess. Raises PoolError."""
    guess = guess_mapping(columns)
    if mapping is None:
        chosen = guess
        plain = {column.lower(): column for column in columns if column not in guess.values()}
        follows = plain.get("input") or plain.get("context")
        if follows and guess.get("prompt", "").lower() in ("instruction", "question", "query"):
            return {**_complete(guess, columns, place), CONTINUED: follows}
    else:
        chosen = {name: column for name, column in mapping.items() if column}
        for name in REQUIRED:
            if name not in chosen and name in guess:
                chosen[name] = guess[name]
    return _complete(chosen, columns, place)


def _complete(chosen: dict[str, str], columns: Sequence[str], place: str) -> dict[str, str]:
    known = ", ".join(columns)
    for name, column in chosen.items():
        if name not in FIELDS:
            raise PoolError(f"{place}: the mapping names the field {name!r}; fields are {', '.join(FIELDS)}.")
        if column not in columns:
            raise PoolError(f"{place}: the mapping gives {name} the column {column!r}; columns are {known}.")
    for name in REQUIRED:
        if name not in chosen:
            raise PoolError(f"{place}: no column was mapped to {name}; columns are {known}.")
    return chosen


def read_flat(rows: Iterator[Row], collected: Collected, mapping: Mapping[str, str]) -> None:
    """Groups the rows of one prompt: by prompt_id where there is one, else by the prompt's text. File order is kept."""
    groups: dict[tuple[str, str], _Group] = {}
    used_columns = frozenset((*mapping.values(), *CONTEXT))
    for row in collected.readable(rows):
        try:
            _add_row(groups, row, mapping, collected)
        except RowError as error:
            collected.reject(row, str(error))
        collected.note_unused(row, used_columns)
        collected.note_messages(row.data.get(mapping["prompt"]), row.data.get(mapping["response"]))
    whole = []
    for group in groups.values():
        if len(group.rows) < 2:
            shown = repr(group.prompt_id) if group.prompt_id else f"of line {group.line}"
            collected.reject(group.rows[0], f"prompt {shown} ends up with one response; at least two are needed")
        else:
            whole.append(group)
    for group in whole:
        if group.prompt_id is not None:
            collected.prompt_lines[group.prompt_id] = group.line
    for group in whole:
        _finish(group, collected)


def _add_row(groups: dict[tuple[str, str], _Group], row: Row, mapping: Mapping[str, str], collected: Collected) -> None:
    def cell(name: str) -> Any:
        value = row.data.get(mapping[name]) if name in mapping else None
        return None if row.textual and value == "" and name != "response" else value

    def label(name: str) -> str:
        return name if mapping.get(name, name) == name else f"{name} (column {mapping[name]!r})"

    if cell("prompt") is None:
        raise RowError(f"field {label('prompt')} is missing")
    prompt = read_prompt(cell("prompt"), label("prompt"))
    if isinstance(prompt, str) and isinstance(cell(CONTINUED), str) and cell(CONTINUED).strip():
        prompt = f"{prompt}\n{cell(CONTINUED)}"
    prompt = in_context(prompt, row.data)
    answer = as_answer(cell("response"), label("response"))
    prompt_id, response_id = (identifier_or_none(cell(name), label(name)) for name in ("prompt_id", "response_id"))
    generator, stratum = (name_or_none(cell(name), label(name)) for name in ("generator", "stratum"))
    logprob = number_or_none(cell("reference_logprob"), label("reference_logprob"), textual=row.textual)
    quality = outcome_or_none(_as_score(cell("quality")), mapping.get("quality", ""), collected)
    weight = positive_or_none(cell("prompt_weight"), label("prompt_weight"), textual=row.textual)

    key = ("text", prompt_text(prompt)) if prompt_id is None else ("id", prompt_id)
    group = groups.get(key) or _Group(prompt, prompt_id, row.line)
    if prompt_text(group.prompt) != prompt_text(prompt):
        raise RowError(f"prompt_id {prompt_id!r} was already used by line {group.line} for another prompt")
    if response_id is not None and response_id in group.lines:
        raise RowError(f"response_id {response_id!r} was already used by line {group.lines[response_id]}")
    if response_id is not None:
        group.lines[response_id] = row.line
    groups[key] = group
    group.rows.append(row)
    group.given.append(response_id)
    group.texts.append(answer if isinstance(answer, str) else response_text(answer))
    group.messages.append(None if isinstance(answer, str) else beyond_text(answer))
    group.answers.append((generator, logprob, quality))
    group.stratum = group.stratum or stratum
    group.weight = group.weight or weight


def _as_score(value: Any) -> Any:
    """The labels of rows that say only whether an answer was liked."""
    if isinstance(value, str):
        return {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value)
    return value


def _finish(group: _Group, collected: Collected) -> None:
    prompt_id = group.prompt_id
    if prompt_id is None:
        prompt_id = unused(content_id(prompt_text(group.prompt)), collected.prompt_lines, collected.met)
        collected.prompt_lines[prompt_id] = group.line
    ids = response_ids(group.given, group.texts)
    responses = []
    for n, (response_id, (generator, logprob, quality)) in enumerate(zip(ids, group.answers, strict=True)):
        responses.append(Response(response_id, group.texts[n], generator, logprob, messages=group.messages[n]))
        if quality is not None:
            collected.quality[prompt_id, response_id] = quality
    weight = 1.0 if group.weight is None else group.weight
    collected.prompts.append(Prompt(prompt_id, group.prompt, tuple(responses), stratum=group.stratum, weight=weight))
    collected.used += len(group.rows)
