"""Preference rows: TRL (standard and conversational, explicit and implicit prompt) and HH transcripts.

Rows of one prompt form a graph: the same text is the same response, every row is an edge. Nothing in the pool tells
which side was chosen: responses are ordered by the hash of their text, and outcomes go to the truth alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curation.pool.lines import Row
from curation.pool.readers_common import (
    Collected,
    RowError,
    identifier_or_none,
    number_or_none,
    positive_or_none,
    unused,
)
from curation.pool.schema import Message, Prompt, Response, as_messages, as_prompt, content_id, prompt_text

TURN = "\n\nAssistant: "
_TURNS = re.compile(r"(?:\A|\n\n)(Human|Assistant): ")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {"user": "\n\nHuman: ", "assistant": TURN}
_GENERATOR = ("{}_model", "{}_generator", "model_{}", "generator_{}")
_SCORE = ("score_{}", "{}_score", "{}_rating", "{}_reward", "reward_{}", "rating_{}")
_LOGPROB = ("reference_logprob_{}", "{}_reference_logprob", "ref_{}_logps", "ref_{}_logp", "reference_{}_logps")
_SIDES = ("chosen", "rejected")
_KNOWN = frozenset(
    ["prompt", "prompt_id", "stratum", "source", "prompt_weight", *_SIDES]
    + [name.format(side) for names in (_GENERATOR, _SCORE, _LOGPROB) for name in names for side in _SIDES]
)


@dataclass
class _Answer:
    text: str
    generator: str | None = None
    logprob: float | None = None
    scores: list[float] = field(default_factory=list)


@dataclass
class _Group:
    """One prompt while its rows come in. edges: (a, b) with a < b -> whether a was chosen, once per row."""

    prompt: str | list[Message]
    prompt_id: str | None
    line: int
    stratum: str | None = None
    weight: float | None = None
    answers: dict[str, _Answer] = field(default_factory=dict)
    edges: dict[tuple[str, str], list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Comparison:
    prompt: str | list[Message]
    prompt_id: str | None
    stratum: str | None
    weight: float | None
    chosen: _Answer
    rejected: _Answer


def read_preference(rows: Iterator[Row], collected: Collected, *, transcripts: bool) -> None:
    """TRL rows, or HH rows with `transcripts`. Adds prompts in the order of their first row."""
    groups: dict[tuple[str, str], _Group] = {}
    for row in collected.readable(rows):
        data = {key.lower().replace("-", "_"): value for key, value in row.data.items()}
        try:
            comparison = _comparison(data, row.textual, transcripts, collected)
            _add_edge(_group(groups, comparison, row), comparison, collected)
        except RowError as error:
            collected.reject(row, str(error))
            continue
        collected.used += 1
        for name in data.keys() - _KNOWN:
            collected.note(f"rows hold the field {name!r}, which is not used")
    for group in groups.values():
        if group.prompt_id is not None:
            collected.prompt_lines[group.prompt_id] = group.line
    for group in groups.values():
        _finish(group, collected)


def split_transcripts(chosen: str, rejected: str) -> tuple[list[Message], str, str]:
    """Messages up to the last `\\n\\nAssistant: ` that both transcripts share, and what each says after it.

    Lossless: `transcript(messages, text)` gives each transcript back. Raises RowError when they share no such turn.
    """
    shared = shared_opening(chosen, rejected)
    cut = shared.rfind(TURN)
    if cut < 0:
        raise RowError("chosen and rejected share no '\\n\\nAssistant: ' turn, so their prompt cannot be told")
    messages = parse_transcript(chosen[:cut])
    if not messages:
        raise RowError("nothing stands before the '\\n\\nAssistant: ' turn that both share, so there is no prompt")
    return messages, chosen[cut + len(TURN) :], rejected[cut + len(TURN) :]


def shared_opening(first: str, second: str) -> str:
    """The longest text that both begin with."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return first[:low]


def parse_transcript(text: str) -> list[Message]:
    """HH turns as messages; text before the first turn becomes a system message."""
    marks = list(_TURNS.finditer(text))
    lead = text[: marks[0].start()] if marks else text
    messages = [{"role": "system", "content": lead}] if lead else []
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    for mark, end in zip(marks, ends, strict=False):  # without marks one end is left over
        messages.append({"role": _ROLES[mark.group(1)], "content": text[mark.end() : end]})
    return messages


def transcript(messages: list[Message], text: str) -> str:
    """The HH transcript of a prompt and one answer: the inverse of `split_transcripts`.

    A first turn that stood at the very beginning gets the two newlines it lacked.
    """
    return "".join(_NAMES.get(message["role"], "") + message["content"] for message in messages) + TURN + text


def _comparison(data: dict[str, Any], textual: bool, transcripts: bool, collected: Collected) -> _Comparison:
    for side in _SIDES:
        if data.get(side) is None:
            raise RowError(f"field {side} is missing")
    prompt, chosen, rejected = _split(data, transcripts, collected)
    sides = []
    for side, text in zip(_SIDES, (chosen, rejected), strict=True):
        score = number_or_none(*_first(data, _SCORE, side), textual=textual)
        sides.append(
            _Answer(
                text=text,
                generator=identifier_or_none(*_first(data, _GENERATOR, side)),
                logprob=number_or_none(*_first(data, _LOGPROB, side), textual=textual),
                scores=[] if score is None else [score],
            )
        )
    stratum = identifier_or_none(data.get("stratum"), "stratum") or identifier_or_none(data.get("source"), "source")
    weight = positive_or_none(data.get("prompt_weight"), "prompt_weight", textual=textual)
    prompt_id = identifier_or_none(data.get("prompt_id"), "prompt_id")
    return _Comparison(prompt, prompt_id, stratum, weight, sides[0], sides[1])


def _first(data: dict[str, Any], patterns: tuple[str, ...], side: str) -> tuple[Any, str]:
    names = [pattern.format(side) for pattern in patterns]
    name = next((name for name in names if data.get(name) is not None), names[0])
    return data.get(name), name


def _split(data: dict[str, Any], transcripts: bool, collected: Collected) -> tuple[str | list[Message], str, str]:
    """Prompt, chosen text and rejected text of one row."""
    chosen, rejected = (_as_turns(data[side]) for side in _SIDES)
    given = None if transcripts else data.get("prompt")
    prompt: str | list[Message] | None = None
    if given is not None:
        try:
            prompt = as_prompt(given)
        except ValueError as error:
            raise RowError(f"field prompt {error}") from None
    if isinstance(chosen, str) and isinstance(rejected, str):
        if prompt is not None:
            return prompt, chosen, rejected
        if transcripts or (TURN in chosen and TURN in rejected):
            return split_transcripts(chosen, rejected)
        return _split_text(chosen, rejected, collected)
    if transcripts or isinstance(chosen, str) or isinstance(rejected, str):
        wanted = "both text" if transcripts else "both text or both lists of messages"
        raise RowError(f"fields chosen and rejected must be {wanted}")
    return _split_messages(prompt, _messages(chosen, "chosen"), _messages(rejected, "rejected"))


def _as_turns(value: Any) -> str | list[Any]:
    if isinstance(value, str | list):
        return value
    if isinstance(value, dict):
        return [value]
    raise RowError("fields chosen and rejected must be text or lists of messages")


def _messages(value: list[Any], name: str) -> list[Message]:
    try:
        return as_messages(value)
    except ValueError as error:
        raise RowError(f"field {name}: {error}") from None


def _split_messages(
    prompt: str | list[Message] | None, chosen: list[Message], rejected: list[Message]
) -> tuple[str | list[Message], str, str]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if isinstance(prompt, list):  # explicit: repeated in front of the answers by some files
        shared = len(prompt) if chosen[:shared][: len(prompt)] == prompt else 0
    elif shared:
        prompt = chosen[:shared]
    if prompt is None:
        raise RowError("chosen and rejected share no opening message, so there is no prompt; add a prompt field")
    return prompt, _completion(chosen[shared:], "chosen"), _completion(rejected[shared:], "rejected")


def _completion(messages: list[Message], name: str) -> str:
    if not messages:
        raise RowError(f"field {name} has no message")
    return messages[0]["content"] if len(messages) == 1 else prompt_text(messages)


def _split_text(chosen: str, rejected: str, collected: Collected) -> tuple[str, str, str]:
    """Implicit prompt of two plain texts: what both begin with, cut back to a whole word."""
    shared = shared_opening(chosen, rejected)
    cut = max((index for index, character in enumerate(shared) if character.isspace()), default=0)
    if not shared[:cut].strip():
        raise RowError("chosen and rejected share no opening text, so there is no prompt; add a prompt field")
    collected.note("rows have no prompt field: the words that both answers begin with were taken as the prompt")
    return shared[:cut], chosen[cut:], rejected[cut:]


def _group(groups: dict[tuple[str, str], _Group], comparison: _Comparison, row: Row) -> _Group:
    text = prompt_text(comparison.prompt)
    key = ("text", text) if comparison.prompt_id is None else ("id", comparison.prompt_id)
    group = groups.setdefault(key, _Group(comparison.prompt, comparison.prompt_id, row.line))
    if prompt_text(group.prompt) != text:
        raise RowError(f"prompt_id {group.prompt_id!r} was already used by line {group.line} for another prompt")
    group.stratum = group.stratum or comparison.stratum
    group.weight = group.weight or comparison.weight
    return group


def _add_edge(group: _Group, comparison: _Comparison, collected: Collected) -> None:
    chosen, rejected = comparison.chosen, comparison.rejected
    first, second = content_id(chosen.text), content_id(rejected.text)
    outcome = 1.0 if first < second else 0.0
    if first == second:  # identical texts: which was chosen says nothing, and must not decide the order
        outcome = 0.5
        second = f"{first}-2"
        chosen, rejected = sorted(
            (chosen, rejected), key=lambda a: (a.generator or "", a.logprob is not None, a.logprob or 0.0)
        )
        collected.note("rows compare a text with itself; kept as an identical pair")
    for response_id, answer in ((first, chosen), (second, rejected)):
        kept = group.answers.setdefault(response_id, _Answer(answer.text))
        if kept.generator and answer.generator and kept.generator != answer.generator:
            collected.note("responses come from several generators with the same text; the first name is kept")
        kept.generator = kept.generator or answer.generator
        kept.logprob = answer.logprob if kept.logprob is None else kept.logprob
        kept.scores.extend(answer.scores)
    outcomes = group.edges.setdefault((min(first, second), max(first, second)), [])
    if outcomes:
        collected.note("rows repeat a pair of an earlier row; merged, outcomes averaged")
    outcomes.append(outcome)


def _finish(group: _Group, collected: Collected) -> None:
    prompt_id = group.prompt_id
    if prompt_id is None:
        prompt_id = unused(content_id(prompt_text(group.prompt)), collected.prompt_lines)
        collected.prompt_lines[prompt_id] = group.line
    ids = sorted(group.answers)
    index = {response_id: position for position, response_id in enumerate(ids)}
    collected.prompts.append(
        Prompt(
            prompt_id=prompt_id,
            prompt=group.prompt,
            responses=tuple(
                Response(response_id, answer.text, answer.generator, answer.logprob)
                for response_id, answer in ((response_id, group.answers[response_id]) for response_id in ids)
            ),
            pairs=tuple(sorted((index[a], index[b]) for a, b in group.edges)),
            stratum=group.stratum,
            weight=1.0 if group.weight is None else group.weight,
        )
    )
    for response_id in ids:
        scores = group.answers[response_id].scores
        if scores:
            collected.quality[prompt_id, response_id] = sum(scores) / len(scores)
    for (a, b), outcomes in sorted(group.edges.items()):
        collected.labels.append((prompt_id, a, b, sum(outcomes) / len(outcomes)))
