"""A tokenizer's chat template: prompts as it writes them, and what it puts round an answer, found by rendering one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.errors import RepresentationError

DATE = "2025-01-01"  # what a template that asks for today's date is told: the same pool gives the same numbers
_MARK = "\u2402answer\u2403"  # stands for an answer; control pictures are in no template
_CODES = {
    "%Y": "2025", "%y": "25", "%m": "01", "%d": "01", "%e": "1", "%B": "January", "%b": "Jan", "%h": "Jan",
    "%A": "Wednesday", "%a": "Wed", "%j": "001", "%H": "00", "%I": "12", "%M": "00", "%S": "00", "%p": "AM",
    "%F": DATE, "%T": "00:00:00", "%-d": "1", "%-m": "1", "%-H": "0", "%-I": "12",
}  # fmt: skip
_OPEN, _CLOSE = re.compile(r"<think(?:ing)?>"), re.compile(r"</think(?:ing)?>")


@dataclass(frozen=True)
class Turn:
    """What a template puts round an answer.

    before: text between the generation prompt and the answer. opened: a block that the generation prompt opens at its
    end and a finished answer does not have (`<think>`). after: text behind the answer. left, right: whether the
    answer loses its white space on that side.
    """

    before: str = ""
    opened: str = ""
    after: str = ""
    left: bool = False
    right: bool = False

    @property
    def lead(self) -> str:
        """Blanks before the answer, which tokenizers fold into its first word."""
        return self.before[len(self.before.rstrip(" ")) :]

    def head(self, prompt: str, answer: str) -> str:
        """What stands before this answer, given the generation prompt.

        An answer that brings its own thinking gets no block from the template; one that begins inside a block that
        the prompt opened keeps the prompt as it is; any other stands where a finished answer stands.
        """
        whole = (prompt[: len(prompt) - len(self.opened)] if self.opened else prompt) + self.before.rstrip(" ")
        opens, closes = _OPEN.search(answer), _CLOSE.search(answer)
        if opens and not answer[: opens.start()].strip():
            return whole[: _block(whole)]
        if closes and not (opens and opens.start() < closes.start()) and _block(prompt) < len(prompt):
            return prompt
        return whole

    def answer(self, text: str) -> str:
        """An answer as the template would write it, blanks before it included."""
        text = text.lstrip() if self.left else text
        text = text.rstrip() if self.right else text
        return self.lead + text if text else ""


def _block(text: str) -> int:
    """Where the empty or open thinking block at the end of a text begins; the text's length where there is none."""
    last = max(_OPEN.finditer(text), key=lambda found: found.start(), default=None)
    return last.start() if last and not _CLOSE.sub("", text[last.end() :]).strip() else len(text)


class ChatTemplate:
    """The chat template of a tokenizer. Raises RepresentationError where it cannot render even one question."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        try:
            text = str(tokenizer.get_chat_template())
            self.dated = "strftime_now" in text
            self._text = _pinned(text) if self.dated else text
            self.sample = self._apply([{"role": "user", "content": "q"}])
        except Exception as error:  # a template is a program of somebody else's and may raise anything
            raise RepresentationError(
                f"the model's chat template cannot render even one question ({_words(error)}); mend or remove its "
                "template (chat_template.jinja, or chat_template in tokenizer_config.json): without one the plain "
                "layout User: / Assistant: is used."
            ) from error
        self.turn = self._turn()

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt up to where the answer is generated. Raises RepresentationError where the template refuses."""
        try:
            return self._apply(messages)
        except Exception as error:
            if len(messages) > 1 and messages[0]["role"] == "system":  # some templates know no system role
                text = f"{messages[0]['content']}\n\n{messages[1]['content']}"
                try:
                    return self._apply([{"role": messages[1]["role"], "content": text}, *messages[2:]])
                except Exception:  # the first refusal is the one that is told
                    pass
            raise RepresentationError(refusal(messages, error)) from error

    def _apply(self, messages: Sequence[dict[str, str]], *, prompt: bool = True) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages), chat_template=self._text, tokenize=False, add_generation_prompt=prompt
            )
        )

    def _turn(self) -> Turn:
        try:
            before, after = self._round(_MARK)
            spaced = self._round(f" {_MARK} ")
        except Exception:  # it writes no answers, or not as they are
            return Turn()
        left, right = spaced[0] == before, spaced[1] == after
        if before.startswith(self.sample):
            return Turn(before[len(self.sample) :], "", after, left, right)
        shared = _block(self.sample)
        if not before.startswith(self.sample[:shared]) or shared == len(self.sample):
            return Turn("", "", after, left, right)  # written otherwise than generated: as it is generated
        return Turn(before[shared:], self.sample[shared:], after, left, right)

    def _round(self, answer: str) -> tuple[str, str]:
        messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
        before, after = self._apply(messages, prompt=False).split(_MARK)
        return before, after

    def closing(self, ids: Sequence[int]) -> list[int]:
        """Of the tokens behind an answer those that close it: up to the first control token. [] where there is none."""
        control = {*self._tokenizer.all_special_ids, *getattr(self._tokenizer, "added_tokens_decoder", {})}
        first = next((k for k, token in enumerate(ids) if token in control), None)
        return [] if first is None else list(ids[: first + 1])


def refusal(messages: Sequence[dict[str, str]], error: BaseException) -> str:
    """A sentence on a prompt that a template refuses."""
    roles = ", ".join(message["role"] for message in messages)
    return (
        f"the model's chat template refuses a prompt with the roles {roles} ({_words(error)}); use prompts that begin "
        "with the user and alternate, or a model without a chat template."
    )


def _pinned(text: str) -> str:
    """A template in which `strftime_now` says DATE. What is put before it leaves its own text as it was."""
    replaced = "".join(f".replace('{code}', '{told}')" for code, told in _CODES.items())
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}{{ '' }}" + text


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
