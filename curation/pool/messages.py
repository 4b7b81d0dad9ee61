"""Messages of a chat: the shapes in which files keep them, all that one carries, and its plain text.

A message is {role, content} with content as text, and what else it carries under the names of CARRIED, where anything
stands there. `tools`, the functions offered to the assistant, hang on the prompt's first system message.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Message = dict[str, Any]
CARRIED = ("name", "tool_calls", "function_call", "tool_call_id", "thinking", "reasoning_content", "tools")
_TEXTS = ("name", "tool_call_id", "thinking", "reasoning_content")
_KNOWN = frozenset(("role", "content", "from", "value", *CARRIED))
_SPEAKERS = {"human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
_SPEAKERS |= {"model": "assistant", "function_call": "assistant", "observation": "tool", "function_response": "tool"}
_CELL_MOST = 1 << 20  # characters of a cell that is decoded
_LITERAL_MOST = 1 << 18  # a Python literal takes far more memory than its text
_CELL = re.compile(r"\s*(?:array\(\s*)?\[?\s*\{\s*(['\"])(?:role|content|from|value)\1\s*:")


def as_messages(value: Iterable[Any]) -> list[Message]:
    """Messages with text content and what they carry. {from, value} and text parts are understood.

    Raises ValueError naming the message: no role, no content where nothing else is said, a part that is no text.
    """
    return [_message(message, number) for number, message in enumerate(value)]


def _message(message: Any, number: int) -> Message:
    if not isinstance(message, dict):
        raise ValueError(f"message {number} must be an object with role and content")
    role, content = message.get("role"), message.get("content")
    if type(role) is str and type(content) is str and len(message) == 2:
        return {"role": role, "content": content}
    if role is None and isinstance(message.get("from"), str):
        speaker = message["from"]
        role = _SPEAKERS.get(speaker.lower(), speaker)
        content = message.get("value") if content is None else content
        if speaker.lower() == "function_call" and isinstance(content, str):
            message = message | {"tool_calls": [_sharegpt_call(content)]}
            content = None
    if not isinstance(role, str):
        raise ValueError(f"message {number} needs role as text")
    carried = _carried(message, number)
    if isinstance(content, list):
        content, thought = _joined(content, number)
        if thought:
            carried.setdefault("thinking", thought)
    if content is None and carried.keys() & {"tool_calls", "function_call", "thinking", "reasoning_content", "tools"}:
        content = ""
    if not isinstance(content, str):
        raise ValueError(f"message {number} needs content as text")
    return {"role": role, "content": content} | carried


def _sharegpt_call(text: str) -> dict[str, Any]:
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        call = None
    return {"type": "function", "function": call if isinstance(call, dict) else {"name": text}}


def _carried(message: dict[str, Any], number: int) -> Message:
    found: Message = {}
    for key in CARRIED:
        value = message.get(key)
        if value is None or value == "" or value == []:
            continue
        if key in ("tool_calls", "tools", "function_call"):
            value = _objects(value, f"message {number} has {key} that")
            found[key] = value[0] if key == "function_call" else value
        elif key in _TEXTS:
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise ValueError(f"message {number} needs {key} as text")
            found[key] = str(value)
    return found


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    """A list of objects (or one, or their JSON text) without empty fields. Raises ValueError that begins with what."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{what} cannot be read as JSON") from None
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"{what} must be a list of objects")
    items = [_loads_if_text(item) for item in items]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{what} must be a list of objects")
    return [_filled(item) for item in items]


def _loads_if_text(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    try:
        return json.loads(item)
    except (ValueError, RecursionError):
        return item


def _filled(value: Any) -> Any:
    """Without the nulls that columnar files fill up; what stands under `arguments` is left as it is."""
    if isinstance(value, dict):
        return {key: item if key == "arguments" else _filled(item) for key, item in value.items() if item is not None}
    return [_filled(item) for item in value] if isinstance(value, list) else value


def _joined(parts: Sequence[Any], number: int) -> tuple[str, str]:
    """Text and thinking of content given in parts. Raises ValueError naming the type of a part that is neither."""
    texts, thoughts = [], []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if kind in ("thinking", "reasoning") and isinstance(part.get("thinking", text), str):
            thoughts.append(part.get("thinking", text))
        elif kind in ("text", "input_text", "output_text") and isinstance(text, str):
            texts.append(text)
        else:
            raise ValueError(
                f"message {number} holds a part of type {str(kind)[:40]!r}, which is no text; only texts are compared: "
                "leave such rows out"
            )
    return "".join(texts), "\n\n".join(thoughts)


def unread_fields(value: Any) -> Iterator[str]:
    """Names of what the messages in a raw value hold and `as_messages` leaves out."""
    for message in [value] if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(message, dict) and ("role" in message or "from" in message) and not message.keys() <= _KNOWN:
            yield from (str(key) for key, item in message.items() if key not in _KNOWN and item is not None)


def decoded(text: str) -> str | list[Any]:
    """A cell that holds messages as JSON or as Python writes them, decoded; any other text as it is.

    Raises ValueError where a cell plainly holds messages and cannot be decoded.
    """
    if not _CELL.match(text[:200]):
        return text
    value = literal(text)
    items = [value] if isinstance(value, dict) else value
    if isinstance(items, list) and items and all(isinstance(item, dict) and _is_message(item) for item in items):
        return items
    names = {name for name in ("role", "content", "from", "value") if f"'{name}'" in text or f'"{name}"' in text}
    if value is None and ({"role", "content"} <= names or {"from", "value"} <= names):
        raise ValueError("holds messages as text that cannot be decoded; write the cell as JSON")
    return text


def _is_message(item: dict[str, Any]) -> bool:
    return (
        {"role", "content"} <= item.keys() or {"from", "value"} <= item.keys() or {"role", "tool_calls"} <= item.keys()
    )


def literal(text: str) -> Any:
    """What a cell of JSON, or of a Python literal, stands for; None where it is neither, or too long."""
    if len(text) > _CELL_MOST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LITERAL_MOST:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def message_text(message: Message) -> str:
    """One message as it is read: its name, thinking, content, tool calls and offered tools, in this order."""
    if len(message) == 2:
        return str(message["content"])
    name = f"[{message['name']}] " if message.get("name") else ""
    said = [f"[tool] {_compact(tool)}" for tool in message.get("tools", ())]
    said += [f"[thinking] {message[key]}" for key in ("thinking", "reasoning_content") if message.get(key)]
    if message["content"] or not (said or message.keys() & {"tool_calls", "function_call"}):
        said.append(message["content"])
    calls = [*message.get("tool_calls", ()), *([message["function_call"]] if "function_call" in message else [])]
    said += [f"[tool call] {_call(call)}" for call in calls]
    return name + "\n\n".join(said)


def _call(call: dict[str, Any]) -> str:
    inner = call["function"] if isinstance(call.get("function"), dict) else call
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _loads_if_text(arguments)
    if not isinstance(inner.get("name"), str):
        return _compact(call)
    return f"{inner['name']}({arguments if isinstance(arguments, str) else _compact(arguments)})"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def prompt_text(prompt: str | Sequence[Message]) -> str:
    """Plain text of a prompt, for display and hashing: a lone user message reads as that message."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return message_text(prompt[0])
    return "\n\n".join(f"{message['role']}: {message_text(message)}" for message in prompt)


def response_text(messages: Sequence[Message]) -> str:
    """Plain text of a response: one message reads as what it says, several as a conversation."""
    return message_text(messages[0]) if len(messages) == 1 else prompt_text(messages)


def beyond_text(messages: Sequence[Message]) -> tuple[Message, ...] | None:
    """The messages of a response that its text alone cannot give back; None for one plain message."""
    return None if len(messages) == 1 and len(messages[0]) == 2 else tuple(messages)


def plain_messages(prompt: str | Sequence[Message]) -> list[dict[str, str]]:
    """A prompt as messages of role and content only, what else they carry written into the content."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message_text(message)} for message in prompt]


def without_tools(messages: Sequence[Message]) -> tuple[list[Message], list[Any]]:
    """The messages and the tools offered in them, apart; a message that held nothing but tools is left out."""
    tools = [tool for message in messages for tool in message.get("tools", ())]
    kept = [{key: value for key, value in message.items() if key != "tools"} for message in messages]
    return [
        message for message, whole in zip(kept, messages, strict=True) if message["content"] or "tools" not in whole
    ], tools


def with_context(prompt: str | list[Message], *, system: Any, history: Any, tools: Any) -> str | list[Message]:
    """A prompt with what stood beside it: system text first, earlier turns, the question last.

    history: [question, answer] pairs or messages. Each may be null, blank, or the JSON text of itself (system apart).
    Raises ValueError naming the one that cannot be read.
    """
    if system is not None and not isinstance(system, str):
        raise ValueError("system must be text")
    earlier = _turns(history)
    offered = _objects(tools, "tools") if tools is not None and tools != "" and tools != [] else []
    if not (system and system.strip()) and not earlier and not offered:
        return prompt
    messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    head = 1 if messages and messages[0]["role"] in ("system", "developer") else 0
    messages[head:head] = earlier
    if system and system.strip() and not (head and messages[0]["content"] == system):
        messages.insert(0, {"role": "system", "content": system})
    if offered:
        if messages[0]["role"] not in ("system", "developer"):
            messages.insert(0, {"role": "system", "content": ""})
        messages[0] = messages[0] | {"tools": offered}
    return messages


def _turns(history: Any) -> list[Message]:
    if isinstance(history, str):
        if not history.strip():
            return []
        history = literal(history) or "unreadable"
    if not history:
        return []
    if not isinstance(history, list | tuple):
        raise ValueError("history must be a list of turns")
    if all(isinstance(turn, dict) for turn in history):
        return as_messages(history)
    messages: list[Message] = []
    for turn in history:
        if not isinstance(turn, list | tuple) or len(turn) != 2 or not all(isinstance(part, str) for part in turn):
            raise ValueError("history must be a list of messages or of [question, answer] pairs of text")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return messages
