"""From a prompt and a response to the tokens a model reads: the chat template, or a plain layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.errors import RepresentationError

PromptLike = str | list[dict[str, str]]
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


@dataclass(frozen=True)
class Tokens:
    """One response with its prompt, ready for the model."""

    ids: list[int]
    start: int  # index of the first response token; the response runs to the end
    cut: str  # "" when whole, "prompt" when the prompt lost its beginning, "response" when the response lost its end
    lost: tuple[int, int] = (0, 0)  # tokens that the prompt and the response lost


def plain_prompt(prompt: PromptLike) -> str:
    """The prompt in the plain layout, up to and including `Assistant:`; the response follows after one space."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    lines = [f"{_SPEAKERS.get(turn['role'], turn['role'].capitalize())}: {turn['content']}" for turn in turns]
    return "\n\n".join([*lines, "Assistant:"])


def plain_response(text: str) -> str:
    """The response in the plain layout: one space before it, which byte-pair tokenizers fold into its first word."""
    return f" {text}" if text else ""


class Layout:
    """Turns prompts and responses into tokens, the same way for every response of a run.

    A tokenizer with a chat template renders the prompt as messages with a generation prompt; any other gets the plain
    layout `User: ...\\n\\nAssistant: ...`. The end token (EOS, or SEP for encoders) closes every response and counts as
    one of its tokens: a finished answer is what the log-probability is of.
    """

    def __init__(self, tokenizer: Any, *, max_tokens: int | None) -> None:
        self._tokenizer = tokenizer
        self._limit = max_tokens
        self._end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        self._lead = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
        self.chat = bool(getattr(tokenizer, "chat_template", None))

    @property
    def description(self) -> str:
        """The layout in words, for the metadata of a features file."""
        end = "end token appended" if self._end is not None else "no end token"
        return f"{'chat template' if self.chat else 'plain (User: / Assistant:)'}, {end}"

    def prompt_ids(self, prompt: PromptLike) -> list[int]:
        """Tokens of the prompt, including whatever the tokenizer or template puts first."""
        return self.prompts_ids([prompt])[0]

    def prompts_ids(self, prompts: Sequence[PromptLike]) -> list[list[int]]:
        """`prompt_ids` of many prompts in one call of the tokenizer."""
        if self.chat:
            out = self._many([self._render(prompt) for prompt in prompts], special=False)
        else:
            out = self._many([plain_prompt(prompt) for prompt in prompts], special=True)
            if self._end is not None and self._tokenizer.sep_token_id != self._end:
                # some tokenizers close every text; the prompt goes on
                out = [ids[:-1] if ids[-1:] == [self._end] else ids for ids in out]
        if not all(out):
            raise RepresentationError("the tokenizer makes no tokens of a prompt; use another model.")
        return out

    def response_ids(self, text: str) -> list[int]:
        """Tokens of the response and the end token."""
        return self.responses_ids([text])[0]

    def responses_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """`response_ids` of many responses in one call of the tokenizer."""
        out = self._many([text if self.chat else plain_response(text) for text in texts], special=False)
        return out if self._end is None else [[*ids, self._end] for ids in out]

    def groups(self, prompts: Sequence[PromptLike], responses: Sequence[Sequence[str]]) -> list[list[Tokens]]:
        """The responses of every prompt, ready for the model."""
        heads = self.prompts_ids(prompts)
        tails = iter(self.responses_ids([text for texts in responses for text in texts]))
        return [[self.join(head, next(tails)) for _ in texts] for head, texts in zip(heads, responses, strict=True)]

    def _many(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        if not texts:
            return []
        options = {"add_special_tokens": special, "verbose": False, "return_attention_mask": False}
        return [list(ids) for ids in self._tokenizer(list(texts), **options)["input_ids"]]

    def join(self, prompt: Sequence[int], response: Sequence[int]) -> Tokens:
        """Prompt and response as one sequence within the model's limit.

        Too long: the prompt loses its beginning, after any first special token; a response that is too long alone
        keeps one prompt token and loses its end. Neither happens silently: `cut` says so.
        """
        if self._limit is None or len(prompt) + len(response) <= self._limit:
            return Tokens([*prompt, *response], len(prompt), "")
        kept = list(response[: self._limit - 1])
        room = self._limit - len(kept)
        lead = list(prompt[:1]) if prompt[0] in self._lead else []
        tail = list(prompt[-(room - len(lead)) :]) if room > len(lead) else []
        context = [*lead, *tail]
        lost = (len(prompt) - len(context), len(response) - len(kept))
        return Tokens([*context, *kept], len(context), "response" if lost[1] else "prompt", lost)

    def _render(self, prompt: PromptLike) -> str:
        import jinja2

        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        try:
            return self._apply(messages)
        except jinja2.TemplateError as error:
            if len(messages) > 1 and messages[0]["role"] == "system":  # some templates know no system role
                first = {
                    "role": messages[1]["role"],
                    "content": f"{messages[0]['content']}\n\n{messages[1]['content']}",
                }
                try:
                    return self._apply([first, *messages[2:]])
                except jinja2.TemplateError:
                    pass
            roles = ", ".join(message["role"] for message in messages)
            raise RepresentationError(
                f"the model's chat template refuses a prompt with the roles {roles} ({error}); use prompts that begin "
                "with the user and alternate, or a model without a chat template."
            ) from error

    def _apply(self, messages: list[dict[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
