"""UltraFeedback: `source` becomes the stratum, ratings go to the truth only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr

from curation.pool.files.lines import Row
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import (
    Collected,
    RowError,
    collect_row,
    list_or_cell,
    name_or_none,
    outcome_or_none,
    validated,
)
from curation.pool.readers.instructed import OF_PROMPT, prompt_row
from curation.pool.schema import CanonicalResponse, CanonicalRow, OptionalId, OptionalName, OptionalText, ReadPrompt

_KNOWN = OF_PROMPT | {"instruction", "completions", "models"}


class UltraFeedback(Reader):
    """`instruction` and `completions`, each with a model and ratings."""

    name, rank, turn, says = "ultrafeedback", 40, 20, "instruction, completions"

    def fits(self, data: dict[str, Any]) -> bool:
        return "instruction" in data and "completions" in data

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        for row in collected.readable(rows):
            collect_row(collected, row, lambda data: _parsed(data, collected))
            collected.note_unused(row, _KNOWN)


PLUG = UltraFeedback()


class _Completion(BaseModel):
    model_config = ConfigDict(extra="ignore")
    response: StrictStr
    model: OptionalName = None
    principle: OptionalName = None
    custom_system_prompt: OptionalText = None


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: ReadPrompt
    completions: Annotated[list[dict[str, Any]], BeforeValidator(list_or_cell)]


def _parsed(data: dict[str, Any], collected: Collected) -> CanonicalRow:
    """One row. Raises RowError naming the field."""
    raw = validated(_Row, data)
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
                generator=name_or_none(completion.model, "model"),
                quality=_quality(item, collected),
                meta={key: value for key, value in meta.items() if value is not None},
            )
        )
    return prompt_row(data, raw.prompt_id, raw.instruction, responses)


def _quality(completion: dict[str, Any], collected: Collected) -> float | None:
    """One score of an UltraFeedback completion: its fine-grained score, else its rating or score, else the mean of its
    annotations' ratings, else `overall_score` (last: the published one is known to hold errors); None without any.
    """
    for key in ("fine-grained_score", "fine_grained_score", "rating", "score"):
        if completion.get(key) is not None:
            return outcome_or_none(completion[key], f"completions.{key}", collected)
    ratings = _ratings(completion.get("annotations"))
    if ratings:
        return sum(ratings) / len(ratings)
    return outcome_or_none(completion.get("overall_score"), "completions.overall_score", collected)


def _ratings(annotations: Any) -> list[float]:
    """The numeric values under `Rating`, at any depth; "N/A" and the like are no rating."""
    if isinstance(annotations, list):
        return [rating for item in annotations for rating in _ratings(item)]
    if not isinstance(annotations, dict):
        return []
    found = []
    for key, value in annotations.items():
        if key.lower() == "rating" and not isinstance(value, dict | list):
            found.append(outcome_or_none(value, key, None))
        else:
            found.extend(_ratings(value))
    return [rating for rating in found if rating is not None]
