"""Flat tables: one row per response, columns named by the analyst or guessed from their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.messages import beyond_text, response_text
from curation.pool.prompts import CONTEXT, as_answer, in_context, read_prompt
from curation.pool.readers.base import About, Reader
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
from curation.pool.readers.mapping import CONTINUED, REQUIRED, guess_mapping, resolve_mapping
from curation.pool.schema import Message, Prompt, Response, content_id, prompt_text


class Flat(Reader):
    """A column of prompts and one of responses, by their names or by what somebody says."""

    name, rank, turn, says = "flat", 80, 60, "a prompt and a response column"
    by_columns = True

    def fits(self, data: dict[str, Any]) -> bool:
        return guess_mapping(list(data)).keys() >= {*REQUIRED}

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        """Groups the rows of one prompt: by prompt_id where there is one, else by its text. File order is kept."""
        mapping = resolve_mapping(about.mapping, about.columns, about.place)
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


PLUG = Flat()


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
