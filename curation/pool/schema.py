"""What a pool is: prompts with candidate responses, kept apart from everything that is known about their quality.

`Pool` is what designs, features and reviewers see. `Truth` is what only the backtest may read. The pydantic models at
the end validate one raw row of the canonical format (JSON Lines or Parquet) before it becomes a `Prompt`.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from curation.pool.messages import Message as Message
from curation.pool.messages import as_messages as as_messages
from curation.pool.messages import decoded
from curation.pool.messages import prompt_text as prompt_text

ID_HEX = 12
SEPARATOR = "\x1f"  # of the ids in a pair_id; no id holds it
RAW_CLIP = 2000

# Names under which files keep known outcomes; never carried into `meta`, whatever their spelling or prefix.
_OUTCOMES = """annotation annotations average_rating chosen_rating chosen_score critique critiques fine_grained_score
fine_grained_scores fine_grained_rating fine_grained_ratings gold_score judge_score label labels margin overall_score
preference preferences quality rank ranking rating ratings rationale rationales rejected_rating rejected_score reward
rewards score score_chosen score_rejected scores winner"""
OUTCOME_NAMES = frozenset(_OUTCOMES.split())


@dataclass(frozen=True)
class Response:
    """One candidate answer. `reference_logprob` is the summed log-probability under the reference, in nats.

    messages: the answer as it was given where that is more than one plain message (several turns, tool calls,
    thinking); `text` then is how it reads.
    """

    response_id: str
    text: str
    generator: str | None = None
    reference_logprob: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] | None = None


@dataclass(frozen=True)
class Prompt:
    """One prompt and its candidates. `pairs`: (i, j), i < j, sorted and unique indices; None means every pair."""

    prompt_id: str
    prompt: str | list[Message]
    responses: tuple[Response, ...]
    pairs: tuple[tuple[int, int], ...] | None = None
    stratum: str | None = None
    weight: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def n_pairs(self) -> int:
        """Number of pairs that may be labelled."""
        k = len(self.responses)
        return k * (k - 1) // 2 if self.pairs is None else len(self.pairs)


@dataclass(frozen=True, repr=False)
class Pool:
    """Prompts in file order. "Flat order" below is response by response, prompt by prompt; N responses, P prompts."""

    prompts: tuple[Prompt, ...]
    name: str = "pool"

    def __repr__(self) -> str:
        return f"pool {self.name!r}: {len(self.prompts)} prompts, {self.n_responses} responses, {self.n_pairs} pairs"

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of sha256 over ids, texts and graph; no outcome and not the name can change it."""
        digest = hashlib.sha256()
        for prompt in self.prompts:
            digest.update(canonical_json(fingerprint_content(prompt)).encode("utf-8", "surrogatepass"))
            digest.update(b"\n")
        return digest.hexdigest()[:16]

    @cached_property
    def n_responses(self) -> int:
        """N, the number of responses."""
        return sum(len(prompt.responses) for prompt in self.prompts)

    @cached_property
    def n_pairs(self) -> int:
        """Number of candidate pairs over all prompts."""
        return sum(prompt.n_pairs for prompt in self.prompts)

    def ids(self) -> list[tuple[str, str]]:
        """(prompt_id, response_id) in flat order, length N."""
        return [(prompt.prompt_id, response.response_id) for prompt in self.prompts for response in prompt.responses]

    def offsets(self) -> NDArray[np.int64]:
        """(P + 1,): prompt x owns the flat rows offsets[x]:offsets[x + 1]."""
        counts = [len(prompt.responses) for prompt in self.prompts]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def lengths(self) -> NDArray[np.float64]:
        """(N,): characters of each response."""
        return np.array([len(r.text) for prompt in self.prompts for r in prompt.responses], dtype=np.float64)

    def reference_logprobs(self) -> NDArray[np.float64]:
        """(N,): nats, nan where unknown."""
        values = (r.reference_logprob for prompt in self.prompts for r in prompt.responses)
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    def prompt_weights(self) -> NDArray[np.float64]:
        """(P,): omega of docs/method.md section 1, positive, sum 1."""
        weights = np.array([prompt.weight for prompt in self.prompts], dtype=np.float64)
        if not weights.size:
            return weights
        weights = weights / weights.max()  # first, so that huge weights cannot overflow the sum
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    def strata(self) -> list[str | None]:
        """The stratum of each prompt."""
        return [prompt.stratum for prompt in self.prompts]

    def edges(self) -> list[NDArray[np.int64] | None]:
        """Per prompt (E_x, 2) local indices, i < j; None where every pair is a candidate."""
        return [
            None if prompt.pairs is None else np.array(prompt.pairs, dtype=np.int64).reshape(-1, 2)
            for prompt in self.prompts
        ]


@dataclass(frozen=True)
class Truth:
    """Known outcomes. Only the backtest may read them; never an input of the design, never shown in review.

    quality: (prompt_id, response_id) -> score. labels: (prompt_id, response_a_id, response_b_id, probability a wins).
    """

    quality: dict[tuple[str, str], float] = field(default_factory=dict)
    labels: tuple[tuple[str, str, str, float], ...] = ()


@dataclass(frozen=True)
class Reject:
    """A row that could not be used. `line` counts from 1; `raw` is its text, clipped to RAW_CLIP characters."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class PoolFile:
    """A file as read: rows == rows_used + len(rejects), always."""

    pool: Pool
    truth: Truth
    rejects: tuple[Reject, ...]
    format: str
    rows: int
    rows_used: int
    notes: tuple[str, ...] = ()


def pair_id(prompt_id: str, response_a_id: str, response_b_id: str) -> str:
    """First 16 hex digits of sha256 over the three ids joined by the unit separator."""
    joined = SEPARATOR.join((prompt_id, response_a_id, response_b_id))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def content_id(text: str) -> str:
    """The id of a text that came without one: 12 hex digits of its sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_HEX]


def fingerprint_content(prompt: Prompt) -> list[Any]:
    """The part of a prompt that identifies it, as plain JSON values; holds no outcome because `Prompt` holds none."""
    responses = [
        [r.response_id, r.text, r.generator, r.reference_logprob, r.meta, *([] if r.messages is None else [r.messages])]
        for r in prompt.responses
    ]
    return [prompt.prompt_id, prompt.prompt, responses, prompt.pairs, prompt.stratum, prompt.weight, prompt.meta]


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces, text as it is; values JSON does not know become their str."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


# Raw rows ------------------------------------------------------------------------------------------------------------


def as_identifier(value: Any) -> str | None:
    """An id as text: numbers are spelled out, null and blank mean "none given". Raises ValueError for other types, and
    for an id that holds the separator of `pair_id`: two different pairs could share one."""
    text = as_plain_text(value)
    if text is not None and SEPARATOR in text:
        raise ValueError("holds the control character U+001F, which no id may")
    return text


def as_plain_text(value: Any) -> str | None:
    """Text or a number as text; null and blank mean "none given". Raises ValueError for other types."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    raise ValueError("must be text or a number")


def as_prompt(value: Any) -> str | list[Message]:
    """Text, or a non-empty list of messages (`messages.as_messages`). Raises ValueError naming the message."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("is missing (null)")
    if not isinstance(value, list) or not value:
        raise ValueError("must be text or a non-empty list of {role, content} messages")
    return as_messages(value)


def as_read_prompt(value: Any) -> str | list[Message]:
    """As `as_prompt`, for a file's own cell: messages that arrive as text are decoded. Raises ValueError."""
    if isinstance(value, str):
        value = decoded(value)
    return as_prompt([value] if isinstance(value, dict) else value)


def as_name(value: Any) -> str | None:
    """As `as_identifier`, for a name that may be unknown: NaN, which data frames write for null, means none."""
    return None if isinstance(value, float) and math.isnan(value) else as_identifier(value)


def as_meta(value: Any) -> dict[str, Any]:
    """An object, the same as JSON text (Parquet), or null. Raises ValueError for anything else and for inf or nan."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            raise ValueError("must be an object (or one written as JSON text)") from None
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    try:
        finite = _all_finite(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not finite:
        raise ValueError("holds a number that is not finite")
    return {str(key): item for key, item in value.items() if item is not None}


def is_outcome(name: str) -> bool:
    """Whether a field of this name holds a known outcome, which must not reach `meta`."""
    return "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_") in OUTCOME_NAMES


def _all_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_all_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_all_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _as_pair(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value.get("response_a_id"), value.get("response_b_id")]
    return list(value) if isinstance(value, list | tuple) else value


def _as_label(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value.get("response_a_id"), value.get("response_b_id"), value.get("probability")]
    return list(value) if isinstance(value, list | tuple) else value


def _as_response_messages(value: Any) -> Any:
    if isinstance(value, str):  # Parquet
        value = decoded(value)
    if value is None:
        return None
    return as_messages(value) if isinstance(value, list) and value else value


def _none_to_list(value: Any) -> Any:
    return [] if value is None else value


RequiredId = Annotated[StrictStr, BeforeValidator(as_identifier)]
OptionalId = Annotated[StrictStr | None, BeforeValidator(as_identifier)]
OptionalName = Annotated[StrictStr | None, BeforeValidator(as_name)]
OptionalText = Annotated[StrictStr | None, BeforeValidator(as_plain_text)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Probability = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
PromptValue = Annotated[str | list[dict[str, Any]], BeforeValidator(as_prompt)]
ReadPrompt = Annotated[str | list[dict[str, Any]], BeforeValidator(as_read_prompt)]
MetaValue = Annotated[dict[str, Any], BeforeValidator(as_meta)]
MessagesValue = Annotated[list[dict[str, Any]] | None, BeforeValidator(_as_response_messages)]
PairValue = Annotated[tuple[RequiredId, RequiredId], BeforeValidator(_as_pair)]
LabelValue = Annotated[tuple[RequiredId, RequiredId, Probability], BeforeValidator(_as_label)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CanonicalResponse(_Row):
    """One raw response. `quality` goes to `Truth`, never to `Response`."""

    response_id: OptionalId = None
    text: StrictStr
    generator: OptionalName = None
    reference_logprob: Finite | None = None
    quality: Finite | None = None
    meta: MetaValue = Field(default_factory=dict)
    messages: MessagesValue = None


class CanonicalRow(_Row):
    """One raw row of the canonical format (docs/formats.md)."""

    prompt_id: OptionalId = None
    prompt: ReadPrompt
    responses: list[CanonicalResponse]
    pairs: list[PairValue] | None = None
    labels: Annotated[list[LabelValue], BeforeValidator(_none_to_list)] = Field(default_factory=list)
    stratum: OptionalName = None
    prompt_weight: Positive | None = None
    meta: MetaValue = Field(default_factory=dict)


_PLAIN_REASONS = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "has characters, or a length, that it may not have",
    "string_unicode": "holds half of a surrogate pair, which is no text",
    "less_than": "must be below {lt:g}",
    "missing": "is missing",
    "string_type": "must be text",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def plain_reason(error: ValidationError) -> str:
    """The first complaint of pydantic in words, naming the field: `field responses[2].text is missing`."""
    first = error.errors(include_url=False)[0]
    name = ""
    for part in first["loc"]:
        name += f"[{part}]" if isinstance(part, int) else f"{'.' if name else ''}{part}"
    kind, context = first["type"], first.get("ctx", {})
    if kind == "value_error":
        words = str(context.get("error", first["msg"]))
    elif first.get("input") is None and kind.endswith("_type"):
        words = "is missing (null)"
    else:
        words = _PLAIN_REASONS[kind].format(**context) if kind in _PLAIN_REASONS else _lower(first["msg"])
    more = error.error_count() - 1
    return f"field {name} {words}" + (f" (and {more} more)" if more else "")
