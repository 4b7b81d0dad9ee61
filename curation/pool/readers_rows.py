"""Formats with one prompt per row: canonical, UltraFeedback (`completions`) and distilabel (`generations`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from curation.pool.lines import Row
from curation.pool.readers_common import (
    Collected,
    RowError,
    collect_row,
    identifier_or_none,
    number_or_none,
    positive_or_none,
    validated,
)
from curation.pool.schema import CanonicalResponse, CanonicalRow, Finite, OptionalId, PromptValue

_CANONICAL = frozenset(CanonicalRow.model_fields) | {"prompt_messages"}
_SHARED = frozenset(["prompt_id", "instruction", "stratum", "source", "prompt_weight"])
_ULTRAFEEDBACK = _SHARED | {"completions", "models"}
_MODELS, _MODEL = ("generation_models", "model_names"), ("generation_model", "model_name")
_DISTILABEL = _SHARED | {"input", "generations", *_MODELS, *_MODEL, "ratings", "rating"}


def read_canonical(rows: Iterator[Row], collected: Collected) -> None:
    """The project's own rows (`CanonicalRow`)."""
    for row in collected.readable(rows):
        collect_row(collected, row, parse_canonical)
        collected.note_unused(row, _CANONICAL)


def parse_canonical(data: dict[str, Any]) -> CanonicalRow:
    """A raw canonical row. Parquet files of mixed prompts keep message lists in `prompt_messages`. Raises RowError."""
    if data.get("prompt") is None and data.get("prompt_messages"):
        data = {**data, "prompt": data["prompt_messages"]}
    return validated(CanonicalRow, data)


class _Completion(BaseModel):
    model_config = ConfigDict(extra="ignore")
    response: StrictStr
    model: OptionalId = None
    principle: OptionalId = None
    custom_system_prompt: OptionalId = None


class _UltraFeedback(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: PromptValue
    completions: list[dict[str, Any]]


def read_ultrafeedback(rows: Iterator[Row], collected: Collected) -> None:
    """UltraFeedback rows: `source` becomes the stratum, ratings go to the truth only."""
    for row in collected.readable(rows):
        collect_row(collected, row, parse_ultrafeedback)
        collected.note_unused(row, _ULTRAFEEDBACK)


def parse_ultrafeedback(data: dict[str, Any]) -> CanonicalRow:
    """An UltraFeedback row (`instruction`, `completions`). Raises RowError naming the field."""
    raw = validated(_UltraFeedback, data)
    responses = []
    for number, item in enumerate(raw.completions):
        try:
            completion = validated(_Completion, item)
        except RowError as error:
            raise RowError(str(error).replace("field ", f"field completions[{number}].", 1)) from None
        meta = {"principle": completion.principle, "custom_system_prompt": completion.custom_system_prompt}
        responses.append(
            CanonicalResponse(
                text=completion.response,
                generator=completion.model,
                quality=completion_quality(item, f"completions[{number}]"),
                meta={key: value for key, value in meta.items() if value is not None},
            )
        )
    return _row(data, raw.prompt_id, raw.instruction, responses)


def completion_quality(completion: dict[str, Any], name: str) -> float | None:
    """One score of an UltraFeedback completion: its fine-grained score, else its rating or score, else the mean of its
    annotations' ratings, else `overall_score` (last: the published one is known to hold errors). Raises RowError.
    """
    for key in ("fine-grained_score", "fine_grained_score", "rating", "score"):
        if completion.get(key) is not None:
            return number_or_none(completion[key], f"{name}.{key}", textual=True)
    ratings = _ratings(completion.get("annotations"))
    if ratings:
        return sum(ratings) / len(ratings)
    return number_or_none(completion.get("overall_score"), f"{name}.overall_score", textual=True)


def _ratings(annotations: Any) -> list[float]:
    """The numeric values under `Rating`, at any depth; "N/A" and the like are no rating."""
    if isinstance(annotations, list):
        return [rating for item in annotations for rating in _ratings(item)]
    if not isinstance(annotations, dict):
        return []
    found = []
    for key, value in annotations.items():
        if key.lower() == "rating" and not isinstance(value, dict | list):
            try:
                found.append(number_or_none(value, key, textual=True))
            except RowError:
                continue
        else:
            found.extend(_ratings(value))
    return [rating for rating in found if rating is not None]


def _one_or_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


class _Distilabel(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: PromptValue
    generations: list[StrictStr | None]
    generation_models: list[OptionalId] | None = None
    ratings: Annotated[list[Finite | None] | None, BeforeValidator(_one_or_list)] = Field(default=None)


def read_distilabel(rows: Iterator[Row], collected: Collected) -> None:
    """distilabel rows. A null generation (a failed call) is left out and counted."""
    for row in collected.readable(rows):
        before = collected.used
        collect_row(collected, row, parse_distilabel)
        if collected.used > before:
            failed = sum(1 for text in row.data["generations"] if text is None)
            if failed:
                collected.note("generations are null (a failed call) and were left out", failed)
        collected.note_unused(row, _DISTILABEL)


def parse_distilabel(data: dict[str, Any]) -> CanonicalRow:
    """A distilabel row (`instruction` or `input`, `generations`, models, `ratings`). Raises RowError."""
    models = next((data[key] for key in _MODELS if data.get(key) is not None), None)
    single = next((data[key] for key in _MODEL if data.get(key) is not None), None)
    if models is None and isinstance(single, list):
        models, single = single, None
    named = {**data, "generation_models": models, "ratings": data.get("ratings", data.get("rating"))}
    if data.get("instruction") is None and "input" in data:
        named["instruction"] = data["input"]
    raw = validated(_Distilabel, named)
    count = len(raw.generations)
    models_of = raw.generation_models or [identifier_or_none(single, "generation_model")] * count
    ratings = raw.ratings or [None] * count
    for name, values in (("generation_models", models_of), ("ratings", ratings)):
        if len(values) != count:
            raise RowError(f"field {name} has {len(values)} entries for {count} generations")
    responses = [
        CanonicalResponse(text=text, generator=model, quality=rating)
        for text, model, rating in zip(raw.generations, models_of, ratings, strict=True)
        if text is not None
    ]
    return _row(data, raw.prompt_id, raw.instruction, responses)


def _row(data: dict[str, Any], prompt_id: str | None, prompt: Any, responses: list[CanonicalResponse]) -> CanonicalRow:
    stratum = identifier_or_none(data.get("stratum"), "stratum") or identifier_or_none(data.get("source"), "source")
    weight = positive_or_none(data.get("prompt_weight"), "prompt_weight")
    return CanonicalRow(prompt_id=prompt_id, prompt=prompt, responses=responses, stratum=stratum, prompt_weight=weight)
