"""What a batch folder's JSON must look like, checked once when it is read: whoever uses it then needs no guard.

The models only judge: what is handed on is the JSON itself, with every key that later versions may have added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from curation.errors import BatchError, CurationError, SignatureError
from curation.pool.schema import MessagesValue, as_prompt, canonical_json, plain_reason
from curation.setting_rules import LABELS_MOST
from curation.settings import kept_design, kept_space


def _number(value: Any) -> float:
    """A JSON number as a float. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("must be a number below 1e308") from None


def _finite(value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _whole_prompt(value: Any) -> Any:
    prompt = as_prompt(value)
    if isinstance(prompt, list):
        _words(canonical_json(prompt))
    return prompt


def _words(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no text") from None
    return str(value)


def _text(value: Any) -> str:
    text = _words(value)
    if "\x00" in text:
        raise ValueError("holds the character NUL, which is no text")
    return text


# An id becomes a part of file names and a key of the store: letters, digits, dot, hyphen and underscore, no path.
PlainId = Annotated[StrictStr, Field(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\z")]
Words = Annotated[StrictStr, BeforeValidator(_words)]  # what people wrote, whatever it holds
Text = Annotated[StrictStr, BeforeValidator(_text)]
Number = Annotated[float, BeforeValidator(_number)]
Finite = Annotated[float, BeforeValidator(_finite)]
# A logarithm of lengths; above, its exponential is no number.
LogFactor = Annotated[float, BeforeValidator(_finite), Field(ge=0, le=700)]
Count = Annotated[StrictInt, Field(ge=0, le=10**15)]
Copies = Annotated[StrictInt, Field(ge=1, le=LABELS_MOST)]
PromptValue = Annotated[Words | list[dict[str, Any]], BeforeValidator(_whole_prompt)]
Pair = tuple[Count, Count, Count]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Pool(_Part):
    name: Text
    fingerprint: PlainId


class _Features(_Part):
    fingerprint: PlainId
    metadata: dict[Text, Text] = Field(default_factory=dict)


class _Space(_Part):
    fingerprint: PlainId


class _Settings(_Part):
    budget: Finite
    ridge: Finite
    seed: StrictInt
    cost: Text | None = None


class _Previous(_Part):
    batches: list[PlainId]
    labels: Count


class _Pilot(_Part):
    labels: Finite
    of: Finite


class _Length(_Part):
    difference: LogFactor
    uniform_difference: LogFactor
    pool_difference: LogFactor
    share: Finite | None
    uniform_share: Finite | None


class Manifest(_Part):
    """manifest.json, as far as anything here reads it."""

    batch_id: PlainId
    pool: _Pool
    features: _Features
    space: _Space
    settings: _Settings
    overlap_labels: Finite
    pinned: list[Pair]
    excluded: list[Pair]
    previous: _Previous | None = None
    batch_seed: Annotated[Text, Field(min_length=1, max_length=1000)]
    pairs_selected: Count
    labels: Annotated[Finite, Field(gt=0)]
    quotas: dict[Words, tuple[Finite, Finite | None]] | None = None
    cost_total: Finite | None = None
    pilot: _Pilot | None = None
    guidelines: Text | None = None
    length: _Length | None = None
    objective: Finite
    lower_bound: Finite
    realised: Finite
    efficiency: Finite
    gap: Number
    open: Number
    stopped: Text


class _Direction(_Part):
    direction: Count
    share: Number


class AuditRecord(_Part):
    """One line of batch.jsonl."""

    pair_id: PlainId
    prompt_id: Words
    prompt: PromptValue
    stratum: Words | None
    response_a_id: Words
    response_b_id: Words
    response_a: Words
    response_b: Words
    generator_a: Words | None
    generator_b: Words | None
    weight: Number
    inclusion: Number | None
    copies: Copies
    score: Number
    margin: Number | None
    leverage: Number
    feature_distance: Number
    reference_logprob_a: Number | None
    reference_logprob_b: Number | None
    reference_probability_a: Number | None
    reference_probability_b: Number | None
    drop_cost: Number
    directions: list[_Direction]
    rationale: Words
    left: Literal["a", "b"]
    messages_a: MessagesValue = None
    messages_b: MessagesValue = None


class _Head(_Part):
    event: Count
    hash: Text


class _Check(_Part):
    name: Text
    holds: StrictBool


class SignatureFile(_Part):
    """signature.json."""

    batch_id: PlainId
    signed_by: Text
    at: Text
    files: dict[Text, Text]
    records: list[Text]
    checklist: list[_Check] = Field(default_factory=list)
    head: _Head
    public_key: Text
    signature: Text


def check_manifest(value: Any, place: str) -> dict[str, Any]:
    """The manifest, if it has the shape of one. Raises BatchError naming the field."""
    found = _checked(Manifest, value, place, BatchError)
    try:
        kept_design(found["settings"])
        kept_space(found["space"])
    except CurationError as problem:
        raise BatchError(f"{place}: settings cannot be used ({problem}); solve again.") from None
    return found


def check_record(value: Any, place: str) -> dict[str, Any]:
    """An audit record, if it has the shape of one. Raises BatchError naming the field."""
    return _checked(AuditRecord, value, place, BatchError)


def check_signature(value: Any, place: str) -> dict[str, Any]:
    """A signature file, if it has the shape of one. Raises SignatureError naming the field."""
    return _checked(SignatureFile, value, place, SignatureError)


def _checked(model: type[BaseModel], value: Any, place: str, error: type[CurationError]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise error(f"{place} is not a JSON object; it was damaged or changed.")
    try:
        model.model_validate(value)
    except ValidationError as problem:
        raise error(f"{place}: {plain_reason(problem)}; it was damaged or changed.") from None
    return dict(value)
