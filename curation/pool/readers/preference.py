"""Rows of two answers, as trl, hh and pairs read them: prompts explicit, implicit, or in transcripts.

Rows of one prompt form a graph: the same text is the same response, every row is an edge. Nothing in the pool tells
which side was chosen: responses are ordered by the hash of their text, and outcomes go to the truth alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.messages import Message, beyond_text, prompt_text, response_text
from curation.pool.prompts import CONTEXT, NAMES, as_answer, given_prompt, in_context, possible_prompt
from curation.pool.readers.common import (
    Collected,
    RowError,
    identifier_or_none,
    name_or_none,
    number_or_none,
    outcome_or_none,
    positive_or_none,
    unused,
)
from curation.pool.schema import Prompt, Response, content_id

TURN = "\n\nAssistant: "
_TURNS = re.compile(r"(?:\A|\n\n)(Human|Assistant): ")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {"user": "\n\nHuman: ", "assistant": TURN}
_GENERATOR = ("{}_model", "{}_generator", "model_{}", "generator_{}")
_SCORE = ("score_{}", "{}_score", "{}_rating", "{}_reward", "reward_{}", "rating_{}")
_LOGPROB = ("reference_logprob_{}", "{}_reference_logprob", "ref_{}_logps", "ref_{}_logp", "reference_{}_logps")
_SIDES = ("chosen", "rejected")
OUTCOME = "chosen wins"  # probability; stands in a row that a reader of pairs has made, and null where nothing is known
_KNOWN = frozenset(
    ["prompt", "prompt_id", "stratum", "source", "prompt_weight", *_SIDES]
    + [name.format(side) for names in (_GENERATOR, _SCORE, _LOGPROB) for name in names for side in _SIDES]
    + ["chosen_response", "rejected_response", OUTCOME, *CONTEXT]
)


@dataclass
class _Answer:
    text: str
    messages: tuple[Message, ...] | None = None
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
    outcome: float | None = 1.0


def read_preference(
    rows: Iterator[Row],
    collected: Collected,
    *,
    transcripts: bool,
    columns: Iterable[str] = (),
    parse: Callable[[dict[str, Any], Collected], dict[str, Any]] | None = None,
) -> None:
    """TRL rows, or HH rows with `transcripts`. Adds prompts in the order of their first row.

    columns: those of the file's first rows; where one of them is a prompt's, no prompt is guessed from shared words.
    parse: makes such a row, and OUTCOME, of one of another shape; may raise RowError.
    """
    groups: dict[tuple[str, str], _Group] = {}
    prompted = next((name for name in NAMES if name in {column.lower() for column in columns}), None)
    for row in collected.readable(rows):
        data = {key.lower().replace("-", "_"): value for key, value in row.data.items()}
        try:
            data = data if parse is None else parse(data, collected)
            for side in _SIDES:
                if data.get(side) is None and data.get(f"{side}_response") is not None:
                    data[side] = data.pop(f"{side}_response")
            prompted = prompted or next((name for name in NAMES if name in data), None)
            comparison, used = _comparison(data, row.textual, transcripts, prompted, collected)
            _add_edge(_group(groups, comparison, row), comparison, collected)
        except RowError as error:
            collected.reject(row, str(error))
            continue
        collected.used += 1
        for name in data.keys() - _KNOWN - used:
            collected.note(f"rows hold the field {name!r}, which is not used")
        collected.note_messages(*(data.get(name) for name in (*used, *_SIDES)))
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


def _comparison(
    data: dict[str, Any], textual: bool, transcripts: bool, prompted: str | None, collected: Collected
) -> tuple[_Comparison, frozenset[str]]:
    """The comparison of one row, and the columns its prompt was taken from."""
    for side in _SIDES:
        if data.get(side) is None:
            raise RowError(f"field {side} is missing")
    if textual and isinstance(data.get("prompt"), str) and not data["prompt"]:
        data = {**data, "prompt": None}
    given, used = (None, frozenset[str]()) if transcripts else given_prompt(data)
    prompt, chosen, rejected = _split(data, given, transcripts, prompted, collected)
    prompt = in_context(prompt, data)
    sides = []
    for side, (text, messages) in zip(_SIDES, (chosen, rejected), strict=True):
        score = outcome_or_none(*_first(data, _SCORE, side), collected)
        sides.append(
            _Answer(
                text=text,
                messages=messages,
                generator=name_or_none(*_first(data, _GENERATOR, side)),
                logprob=number_or_none(*_first(data, _LOGPROB, side), textual=textual),
                scores=[] if score is None else [score],
            )
        )
    stratum = name_or_none(data.get("stratum"), "stratum") or name_or_none(data.get("source"), "source")
    weight = positive_or_none(data.get("prompt_weight"), "prompt_weight", textual=textual)
    prompt_id = identifier_or_none(data.get("prompt_id"), "prompt_id")
    return _Comparison(prompt, prompt_id, stratum, weight, sides[0], sides[1], data.get(OUTCOME, 1.0)), used


def _first(data: dict[str, Any], patterns: tuple[str, ...], side: str) -> tuple[Any, str]:
    names = [pattern.format(side) for pattern in patterns]
    name = next((name for name in names if data.get(name) is not None), names[0])
    return data.get(name), name


_Side = tuple[str, tuple[Message, ...] | None]


def _split(
    data: dict[str, Any],
    prompt: str | list[Message] | None,
    transcripts: bool,
    prompted: str | None,
    collected: Collected,
) -> tuple[str | list[Message], _Side, _Side]:
    """Prompt, chosen and rejected answer of one row."""
    chosen, rejected = (as_answer(data[side], side) for side in _SIDES)
    if isinstance(chosen, str) and isinstance(rejected, str):
        if prompt is None and (transcripts or (TURN in chosen and TURN in rejected)):
            prompt, chosen, rejected = split_transcripts(chosen, rejected)
        elif prompt is None:
            _refuse_guess(data, prompted)
            prompt, chosen, rejected = _split_text(chosen, rejected, collected)
        return prompt, (chosen, None), (rejected, None)
    if transcripts or isinstance(chosen, str) or isinstance(rejected, str):
        wanted = "both text" if transcripts else "both text or both lists of messages"
        raise RowError(f"fields chosen and rejected must be {wanted}")
    if prompt is None and (min(len(chosen), len(rejected)) < 2 or chosen[0] != rejected[0]):
        _refuse_guess(data, prompted)
    return _split_messages(prompt, chosen, rejected)


def _refuse_guess(data: dict[str, Any], prompted: str | None) -> None:
    """Raises RowError where the prompt may stand somewhere, so that no words may be taken for it."""
    possible = possible_prompt(data, _KNOWN)
    if possible is not None:
        raise RowError(
            f"has no prompt that is known as one, and the field {possible!r} may hold it; say so with "
            f"--map prompt={possible} (or rename the field to prompt)"
        )
    if prompted is not None:
        raise RowError(f"field {prompted} is missing, as other rows have it; fill it in or leave the row out")


def _split_messages(
    prompt: str | list[Message] | None, chosen: list[Message], rejected: list[Message]
) -> tuple[str | list[Message], _Side, _Side]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if isinstance(prompt, list):  # explicit: repeated in front of the answers by some files
        shared = shared if chosen[:shared][: len(prompt)] == prompt else 0
        prompt = chosen[:shared] if shared else prompt
    elif shared and (prompt is None or any(message["role"] != "assistant" for message in chosen[:shared])):
        prompt = chosen[:shared]
    else:
        shared = 0
    if prompt is None:
        raise RowError("chosen and rejected share no opening message, so there is no prompt; add a prompt field")
    return prompt, _completion(chosen[shared:]), _completion(rejected[shared:])


def _completion(messages: list[Message]) -> _Side:
    return response_text(messages), beyond_text(messages)


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
    outcome = comparison.outcome
    if outcome is not None and first > second:
        outcome = 1.0 - outcome
    if first == second:  # identical texts: which was chosen says nothing, and must not decide the order
        outcome = None if outcome is None else 0.5
        second = f"{first}-2"
        chosen, rejected = sorted(
            (chosen, rejected), key=lambda a: (a.generator or "", a.logprob is not None, a.logprob or 0.0)
        )
        collected.note("rows compare a text with itself; kept as an identical pair")
    for response_id, answer in ((first, chosen), (second, rejected)):
        kept = group.answers.setdefault(response_id, _Answer(answer.text, answer.messages))
        if kept.generator and answer.generator and kept.generator != answer.generator:
            collected.note("responses come from several generators with the same text; the first name is kept")
        kept.generator = kept.generator or answer.generator
        kept.logprob = answer.logprob if kept.logprob is None else kept.logprob
        kept.scores.extend(answer.scores)
    outcomes = group.edges.setdefault((min(first, second), max(first, second)), [])
    if outcomes and outcome is not None:
        collected.note("rows repeat a pair of an earlier row; merged, outcomes averaged")
    if outcome is not None:
        outcomes.append(outcome)


def _finish(group: _Group, collected: Collected) -> None:
    prompt_id = group.prompt_id
    if prompt_id is None:
        prompt_id = unused(content_id(prompt_text(group.prompt)), collected.prompt_lines, collected.met)
        collected.prompt_lines[prompt_id] = group.line
    ids = sorted(group.answers)
    index = {response_id: position for position, response_id in enumerate(ids)}
    collected.prompts.append(
        Prompt(
            prompt_id=prompt_id,
            prompt=group.prompt,
            responses=tuple(
                Response(response_id, answer.text, answer.generator, answer.logprob, messages=answer.messages)
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
        if outcomes:
            collected.labels.append((prompt_id, a, b, sum(outcomes) / len(outcomes)))
