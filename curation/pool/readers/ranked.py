"""Lists of answers with their ranks or scores: Nectar, NeMo, rated lists, and trees of Open Assistant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.messages import Message, prompt_text
from curation.pool.prompts import CONTEXT, given_prompt, in_context
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import (
    Collected,
    RowError,
    add_prompt,
    identifier_or_none,
    list_or_cell,
    name_or_none,
    outcome_or_none,
    positive_or_none,
    validated,
)
from curation.pool.readers.preference import TURN, parse_transcript
from curation.pool.schema import CanonicalResponse, CanonicalRow

_LISTS = ("answers", "completions", "candidates", "outputs", "summaries", "ranked_responses")
_TEXT = ("answer", "completion", "response", "text", "output", "content", "generation")
_MODEL = ("model", "generator", "model_name", "policy")
_SCORE = ("score", "rating", "reward", "quality")
_ID = ("response_id", "id")
_ITEM = frozenset((*_TEXT, *_MODEL, *_SCORE, *_ID, "rank"))
_KNOWN = frozenset(("prompt_id", "stratum", "source", "prompt_weight", "choice", "info", *CONTEXT))
_SPEAKERS = {"prompter": "user", "assistant": "assistant"}


class Ranked(Reader):
    """One prompt a row with a list of answer objects, or a tree. The lowest rank is the best: rank r is quality -r."""

    name, rank, turn = "ranked", 70, 80
    says = "answers or completions with rank or score"

    def fits(self, data: dict[str, Any]) -> bool:
        return _is_tree(data) or _list_column(data) is not None

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        for row in collected.readable(rows):
            try:
                if _is_tree(row.data):
                    _add_tree(row, collected)
                    continue
                found, used = _ranked(row.data, collected)
                add_prompt(collected, row, found)
            except RowError as error:
                collected.reject(row, str(error))
                continue
            collected.note_unused(row, _KNOWN | used)


PLUG = Ranked()


def _list_column(data: dict[str, Any]) -> str | None:
    """The column of a row's answers, each an object; None where it has none."""
    for name in _LISTS:
        items = list_or_cell(data.get(name))
        if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
            return name
    return None


def _is_tree(data: dict[str, Any]) -> bool:
    """Whether a row is a conversation tree: a prompt with replies."""
    return isinstance(data.get("prompt"), dict) and isinstance(data["prompt"].get("replies"), list)


def _ranked(data: dict[str, Any], collected: Collected) -> tuple[CanonicalRow, frozenset[str]]:
    name = _list_column(data)
    if name is None:
        raise RowError(f"lacks a list of answers; one of {', '.join(_LISTS)}")
    prompt, used = given_prompt(data)
    info = data.get("info")
    if prompt is None and isinstance(info, dict):
        prompt = next((info[key] for key in ("post", "article") if isinstance(info.get(key), str)), None)
    if prompt is None:
        raise RowError("has no prompt; name its column with --map prompt=COLUMN")
    if isinstance(prompt, str) and prompt.rstrip().endswith(TURN.rstrip()):
        prompt = parse_transcript(prompt[: prompt.rindex(TURN.rstrip())]) or prompt
    items = list_or_cell(data[name])
    responses = [_response(item, f"{name}[{number}]", collected) for number, item in enumerate(items)]
    choice = data.get("choice")
    if isinstance(choice, int) and 0 <= choice < len(responses):
        responses = [
            response.model_copy(update={"quality": 1.0 if number == choice else 0.0})
            for number, response in enumerate(responses)
        ]
    stratum = name_or_none(data.get("stratum"), "stratum")
    if stratum is None and not isinstance(data.get("source"), list):
        stratum = name_or_none(data.get("source"), "source")
    made = CanonicalRow(
        prompt_id=identifier_or_none(data.get("prompt_id"), "prompt_id"),
        prompt=in_context(prompt, data),
        responses=responses,
        stratum=stratum,
        prompt_weight=positive_or_none(data.get("prompt_weight"), "prompt_weight"),
    )
    return made, used | {name}


def _response(item: dict[str, Any], name: str, collected: Collected) -> CanonicalResponse:
    key = next((key for key in _TEXT if item.get(key) is not None), None)
    if key is None:
        raise RowError(f"field {name} has no text; one of {', '.join(_TEXT)}")
    answer = item[key]
    told: dict[str, Any] = {"text": answer} if isinstance(answer, str) else {"text": "", "messages": answer}
    model = next((item[key] for key in _MODEL if item.get(key) is not None), None)
    quality = next(
        (
            outcome_or_none(item[key], f"{name.split('[')[0]}.{key}", collected)
            for key in _SCORE
            if item.get(key) is not None
        ),
        None,
    )
    rank = outcome_or_none(item.get("rank"), f"{name.split('[')[0]}.rank", collected)
    if quality is None and rank is not None:
        quality = 0.0 - rank
    for left in item.keys() - _ITEM:
        collected.note(f"answers hold the field {left!r}, which is not used")
    told["response_id"] = next((identifier_or_none(item[key], key) for key in _ID if item.get(key) is not None), None)
    try:
        return validated(CanonicalResponse, {**told, "generator": name_or_none(model, "model"), "quality": quality})
    except RowError as error:
        raise RowError(str(error).replace("field ", f"field {name}.", 1)) from None


# Trees ---------------------------------------------------------------------------------------------------------------


def _add_tree(row: Row, collected: Collected) -> None:
    """Every turn of a tree that has two answers or more is a prompt, with the turns before it. Raises RowError."""
    found = list(_turns(row.data["prompt"], []))
    if not found:
        raise RowError("is a tree in which no turn has two answers")
    before = collected.used
    problem = None
    for raw in found:
        ids = collected.prompt_lines
        try:
            if raw.prompt_id in ids:
                raise RowError(f"message_id {raw.prompt_id!r} was already used by line {ids[raw.prompt_id]}")
            add_prompt(collected, row, raw)
        except RowError as error:
            problem = error
    if collected.used == before and problem is not None:
        raise problem
    if len(found) > 1:
        collected.note("prompts come from later turns of a tree", collected.used - before - 1)
    if problem is not None:
        collected.note("turns of a tree could not be used; the other turns of their rows are")
    collected.used = before + 1


def _turns(node: dict[str, Any], earlier: list[Message]) -> Iterator[CanonicalRow]:
    waiting = [(node, earlier)]
    while waiting:
        asked, before = waiting.pop(0)
        replies = [
            reply
            for reply in asked.get("replies") or []
            if isinstance(reply, dict) and isinstance(reply.get("text"), str) and not reply.get("deleted")
        ]
        if not isinstance(asked.get("text"), str):
            raise RowError("field prompt has a turn without text")
        role = _SPEAKERS.get(str(asked.get("role")), str(asked.get("role")))
        messages: list[Message] = [*before, {"role": role, "content": asked["text"]}]
        waiting += [(reply, messages) for reply in replies]
        if role == "user" and len(replies) > 1:
            yield validated(
                CanonicalRow,
                {
                    "prompt_id": identifier_or_none(asked.get("message_id"), "message_id"),
                    "prompt": prompt_text(messages) if len(messages) == 1 else messages,
                    "responses": [_reply(reply) for reply in replies],
                },
            )


def _reply(reply: dict[str, Any]) -> dict[str, Any]:
    meta = reply.get("meta")
    rank = reply.get("rank", meta.get("rank") if isinstance(meta, dict) else None)
    number = outcome_or_none(rank, "rank", None)
    return {
        "response_id": reply.get("message_id"),
        "text": reply["text"],
        "quality": None if number is None else 0.0 - number,
    }
