"""From a prompt and a response to the tokens a model reads: the chat template, or a plain layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.errors import RepresentationError
from curation.representation.chat import DATE, ChatTemplate

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
    lines = [f"{_SPEAKERS.get(turn['role'], turn['role'].capitalize())}: {turn['content']}" for turn in _turns(prompt)]
    return "\n\n".join([*lines, "Assistant:"])


def plain_response(text: str) -> str:
    """The response in the plain layout: one space before it, which byte-pair tokenizers fold into its first word."""
    return f" {text}" if text else ""


class Layout:
    """Turns prompts and responses into tokens, the same way for every response of a run.

    A tokenizer with a chat template renders the prompt as messages with a generation prompt, and what the template
    writes before an answer and closes it with stands round every response; any other gets the plain layout
    `User: ...\n\nAssistant: ...` and its end token (EOS, or SEP for encoders). What closes a response counts as its
    tokens: a finished answer is what the log-probability is of.
    """

    def __init__(self, tokenizer: Any, *, max_tokens: int | None) -> None:
        self._tokenizer = tokenizer
        self._limit = max_tokens
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        self._end = end
        self._lead = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
        self._template = ChatTemplate(tokenizer) if getattr(tokenizer, "chat_template", None) else None
        self._close = [] if end is None else [end]
        self._anchor = self._made_anchor()
        if self._template and self._template.turn.after.strip():
            close = self._template.closing(self._after_anchor([self._template.turn.after.rstrip()])[0])
            self._close = close or self._close

    @property
    def chat(self) -> bool:
        """Whether a chat template writes the prompts."""
        return self._template is not None

    @property
    def end_of_turn(self) -> str:
        """What closes every response, as text; "" where nothing does."""
        return "".join(str(token) for token in self._tokenizer.convert_ids_to_tokens(self._close))

    @property
    def description(self) -> str:
        """The layout in words, for the metadata of a features file."""
        end = f"{self.end_of_turn} closes every response" if self._close else "no end token"
        if self._template is None:
            return f"plain (User: / Assistant:), {end}"
        turn = self._template.turn
        said = [end, *([f"{turn.before!r} before it"] if turn.before else [])]
        said += [f"{turn.opened!r} of the generation prompt left out"] if turn.opened else []
        said += ["white space at its ends left out"] if turn.left or turn.right else []
        said += [f"today is {DATE}"] if self._template.dated else []
        return ", ".join(["chat template", *said])

    @property
    def metadata(self) -> dict[str, str]:
        """How prompts and responses were written, as a features file records it."""
        before = self._template.turn.before if self._template else " "
        return {"template": self.description, "end_of_turn": self.end_of_turn, "before_answer": before}

    def check(self, prompts: Sequence[PromptLike], names: Sequence[str]) -> None:
        """Raises RepresentationError that counts the prompts the chat template refuses and names the first."""
        if self._template is None:
            return
        refused: list[tuple[str, RepresentationError]] = []
        for name, prompt in zip(names, prompts, strict=True):
            try:
                self._template.render(_turns(prompt))
            except RepresentationError as error:
                refused.append((name, error))
        if refused:
            name, first = refused[0]
            raise RepresentationError(
                f"{len(refused):,} of {len(prompts):,} prompts cannot be read; the first is prompt {name}: {first}"
            ) from first

    def prompt_ids(self, prompt: PromptLike) -> list[int]:
        """Tokens of the prompt, including whatever the tokenizer or template puts first."""
        return self.prompts_ids([prompt])[0]

    def prompts_ids(self, prompts: Sequence[PromptLike]) -> list[list[int]]:
        """`prompt_ids` of many prompts in one call of the tokenizer."""
        if self._template is None:
            return self._heads([plain_prompt(prompt) for prompt in prompts])
        turn = self._template.turn
        return self._heads([turn.head(self._template.render(_turns(prompt)), "") for prompt in prompts])

    def response_ids(self, text: str) -> list[int]:
        """Tokens of the response and of what closes it."""
        return self.responses_ids([text])[0]

    def responses_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """`response_ids` of many responses in one call of the tokenizer."""
        said = [self._template.turn.answer(text) if self._template else plain_response(text) for text in texts]
        return [[*ids, *self._close] for ids in self._after_anchor(said)]

    def groups(self, prompts: Sequence[PromptLike], responses: Sequence[Sequence[str]]) -> list[list[Tokens]]:
        """The responses of every prompt, ready for the model."""
        tails = iter(self.responses_ids([text for texts in responses for text in texts]))
        if self._template is None:
            heads = iter(self.prompts_ids(prompts))
            return [[self.join(head, next(tails)) for _ in texts] for head, texts in zip(heads, responses, strict=True)]
        turn = self._template.turn
        written = [self._template.render(_turns(prompt)) for prompt in prompts]
        wanted = [[turn.head(text, answer) for answer in texts] for text, texts in zip(written, responses, strict=True)]
        each = list(dict.fromkeys(text for texts in wanted for text in texts))
        known = dict(zip(each, self._heads(each), strict=True))
        return [[self.join(known[text], next(tails)) for text in texts] for texts in wanted]

    def _heads(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of what stands before responses."""
        out = self._many(texts, special=self._template is None)
        if self._template is None and self._end is not None and self._tokenizer.sep_token_id != self._end:
            # some tokenizers close every text; the prompt goes on
            out = [ids[:-1] if ids[-1:] == [self._end] else ids for ids in out]
        if not all(out):
            raise RepresentationError("the tokenizer makes no tokens of a prompt; use another model.")
        return out

    def _made_anchor(self) -> str:
        """The end of every prompt, where the tokenizer puts a blank before whatever it is given; else "".

        The blank belongs at the beginning of a text (SentencePiece). Read after the anchor, a response has none.
        """
        first = self._tokenizer.convert_ids_to_tokens(self._many(["x"], special=False)[0][:1])
        if not (first and str(first[0]).startswith(("\u2581", "\u0120"))):
            return ""
        text = self._template.turn.head(self._template.sample, "") if self._template else plain_prompt("q")
        added = getattr(self._tokenizer, "added_tokens_decoder", {}).values()
        control = [str(token) for token in added if text.endswith(str(token))]
        return max(control, key=len, default=text[-1:])

    def _after_anchor(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of texts as they are where a prompt stands before them."""
        if not self._anchor:
            return self._many(texts, special=False)
        before = self._many([self._anchor], special=False)[0]
        out = self._many([self._anchor + text for text in texts], special=False)
        merged = [k for k, ids in enumerate(out) if ids[: len(before)] != before]  # the anchor runs into the text
        for k, ids in zip(merged, self._many([texts[k] for k in merged], special=False), strict=True):
            out[k] = [*before, *ids]
        return [ids[len(before) :] for ids in out]

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


def _turns(prompt: PromptLike) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
