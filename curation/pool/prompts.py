"""The prompt of a row: under which names it stands, and what stands beside it and belongs to it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from curation.pool.messages import Message, decoded, with_context
from curation.pool.readers.common import RowError
from curation.pool.schema import as_messages, as_read_prompt, is_outcome

# The names of a column that is the prompt, the first of a row that holds anything wins.
NAMES = tuple(
    """prompt instruction question query conversations conversation messages context_messages prompt_text user_prompt
    user_query user_input user_message context input problem dialogue""".split()
)
_WHOLE_CHATS = ("conversations", "conversation", "messages")  # may also hold the whole chat, its answer included
_LED = ("instruction", "question", "query")  # what `input` or `context` beside it goes on with
_FOLLOWING = ("input", "context")
_SYSTEM = ("system", "system_prompt", "system_message")
_TOOLS = ("tools", "functions")
CONTEXT = frozenset((*_SYSTEM, "history", *_TOOLS))
_PICTURES = ("image", "images", "video", "videos", "audio", "audios")
# Texts that stand in many files and are no prompt.
_ELSEWHERE = frozenset(
    """id idx index source category categories dataset subset split language lang task type domain topic url tag tags
    difficulty stratum notes note comment comments timestamp date time annotator user_id session_id explanation reason
    feedback""".split()
)


def given_prompt(data: Mapping[str, Any]) -> tuple[str | list[Message] | None, frozenset[str]]:
    """The prompt of a row, by its usual names, and the columns it was taken from; (None, none) where none holds it.

    `input` or `context` continue an instruction, question or query after a line break. Raises RowError naming the
    column that cannot be read.
    """
    for name in NAMES:
        value = data.get(name)
        if (
            value is None
            or value == []
            or value != value
            or (name != "prompt" and isinstance(value, str) and not value.strip())
        ):
            continue
        prompt = read_prompt(value, name)
        if name in _WHOLE_CHATS and (isinstance(prompt, str) or prompt[-1]["role"] == "assistant"):
            continue
        if name in _LED and isinstance(prompt, str):
            for other in _FOLLOWING:
                more = data.get(other)
                if isinstance(more, str) and more.strip():
                    return f"{prompt}\n{more}", frozenset((name, other))
        return prompt, frozenset((name, *_blank(data)))
    return None, frozenset()


def _blank(data: Mapping[str, Any]) -> list[str]:
    return [name for name in NAMES if data.get(name) in ("", [])]


def read_prompt(value: Any, name: str) -> str | list[Message]:
    """A cell as a prompt. Raises RowError naming the column."""
    try:
        return as_read_prompt(value)
    except ValueError as error:
        raise RowError(f"field {name} {error}") from None


def in_context(prompt: str | list[Message], data: Mapping[str, Any]) -> str | list[Message]:
    """The prompt with the row's system text, earlier turns and tools. Raises RowError naming the column, also for a row
    that shows a picture or plays a sound, which a comparison of texts would hide."""
    for name in _PICTURES:
        if data.get(name):
            raise RowError(f"field {name} holds what is no text; only texts are compared: leave such rows out")
    if data.keys().isdisjoint(CONTEXT):
        return prompt
    system, history, tools = (
        next((data[name] for name in names if _present(data.get(name))), None)
        for names in (_SYSTEM, ("history",), _TOOLS)
    )
    try:
        return with_context(prompt, system=system, history=history, tools=tools)
    except ValueError as error:
        raise RowError(f"field {error}") from None


def _present(value: Any) -> bool:
    """Whether a cell holds anything; tables write nothing in many ways."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "null", "none", "nan", "[]", "{}")
    return bool(value) and value == value


def possible_prompt(data: Mapping[str, Any], known: Container[str]) -> str | None:
    """The first column that could be the prompt under a name of its own: several words, or messages."""
    for name, value in data.items():
        if name in NAMES and value not in (None, "", []):
            return name
        if name in known or name in _ELSEWHERE or name in CONTEXT or is_outcome(name):
            continue
        if isinstance(value, str) and len(value.split()) > 1:
            return name
        if isinstance(value, list) and value and isinstance(value[0], dict) and value[0].keys() & {"role", "from"}:
            return name
    return None


def as_answer(value: Any, name: str) -> str | list[Message]:
    """A cell that holds one answer: text, or messages (also as text). Raises RowError naming the column."""
    if value is None:
        raise RowError(f"field {name} is missing")
    try:
        if isinstance(value, str):
            value = decoded(value)
    except ValueError as error:
        raise RowError(f"field {name} {error}") from None
    if isinstance(value, str):
        return value
    if not isinstance(value, dict | list):
        raise RowError(f"field {name} must be text or lists of messages")
    if not value:
        raise RowError(f"field {name} has no message")
    try:
        return as_messages([value] if isinstance(value, dict) else value)
    except ValueError as error:
        raise RowError(f"field {name}: {error}") from None
