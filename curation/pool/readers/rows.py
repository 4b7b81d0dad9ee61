"""Formats with one prompt per row: canonical, UltraFeedback (`completions`) and distilabel (`generations`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr

from curation.pool.files.lines import Row
from curation.pool.messages import literal
from curation.pool.prompts import CONTEXT, in_context
from curation.pool.readers.common import (
    Collected,
    RowError,
    collect_row,
    list_or_cell,
    name_or_none,
    outcome_or_none,
    positive_or_none,
    validated,
)
from curation.pool.schema import CanonicalResponse, CanonicalRow, OptionalId, OptionalName, OptionalText, ReadPrompt

_CANONICAL = frozenset(CanonicalRow.model_fields) | {"prompt_messages"} | CONTEXT
_LISTED = ("scores", "rewards", "ratings")
_SHARED = frozenset(["prompt_id", "instruction", "stratum", "source", "prompt_weight"]) | CONTEXT
_ULTRAFEEDBACK = _SHARED | {"completions", "models"}
_MODELS = ("generation_models", "model_names", "grouped_model_name", "merged_model_name")
_MODEL = ("generation_model", "model_name")
_SCORES = ("ratings", "rating", "scores", "ranks")
GENERATIONS = ("generations", "grouped_generation", "merged_generation", "candidates")
_DISTILABEL = _SHARED | {"input", "prompt", *_MODELS, *_MODEL, *_SCORES, *GENERATIONS}


def read_canonical(rows: Iterator[Row], collected: Collected) -> None:
    """The project's own rows (`CanonicalRow`)."""
    for row in collected.readable(rows):
        collect_row(collected, row, lambda data: parse_canonical(data, collected))
        texts = isinstance(row.data.get("responses"), list) and row.data["responses"][:1]
        collected.note_unused(row, _CANONICAL | {*_LISTED} if texts and isinstance(texts[0], str) else _CANONICAL)
        collected.note_messages(row.data.get("prompt"))


def parse_canonical(data: dict[str, Any], collected: Collected) -> CanonicalRow:
    """A raw canonical row. Parquet files of mixed prompts keep message lists in `prompt_messages`, as JSON text where
    they carry more than role and content. Raises RowError."""
    if data.get("prompt") is None and data.get("prompt_messages"):
        messages = data["prompt_messages"]
        data = {**data, "prompt": literal(messages) if isinstance(messages, str) else messages}
    if isinstance(data.get("responses"), str):
        data = {**data, "responses": list_or_cell(data["responses"])}
    try:
        row = validated(CanonicalRow, data)
    except RowError:  # once more without what may be missing
        row = validated(CanonicalRow, _readable_outcomes(data, collected))
    prompt = in_context(row.prompt, data)
    return row if prompt is row.prompt else row.model_copy(update={"prompt": prompt})


def _readable_outcomes(data: dict[str, Any], collected: Collected) -> dict[str, Any]:
    if not isinstance(data.get("responses"), list):
        return data
    responses: list[Any] = []
    for item in data["responses"]:
        responses.append({"text": item} if isinstance(item, str) else dict(item) if isinstance(item, dict) else item)
    _spread_scores(data, responses, collected)
    for item in responses:
        if isinstance(item, dict):
            if item.get("text") is None and item.get("messages"):
                item["text"] = ""
            item["quality"] = outcome_or_none(item.get("quality"), "quality", collected)
            logprob = item.get("reference_logprob")
            item["reference_logprob"] = None if logprob != logprob else logprob
    return {**data, "responses": responses, "labels": _readable_labels(data.get("labels"), collected)}


def _spread_scores(data: dict[str, Any], responses: list[Any], collected: Collected) -> None:
    """Scores that stand in a list beside a list of texts, put to their texts."""
    name = next((name for name in _LISTED if isinstance(data.get(name), list)), None)
    if name is None or not all(isinstance(item, str) for item in data["responses"]):
        return
    if len(data[name]) != len(responses):
        collected.note(f"rows hold {name!r} of another number than responses; they were left out")
        return
    for item, score in zip(responses, data[name], strict=True):
        item["quality"] = score


def _readable_labels(labels: Any, collected: Collected) -> Any:
    """Without the labels whose probability is none."""
    if not isinstance(labels, list):
        return labels
    kept = []
    for label in labels:
        if isinstance(label, dict | list) and len(label) == 3:
            given = label.get("probability") if isinstance(label, dict) else label[2]
            value = outcome_or_none(given, "labels", collected)
            if value is None:
                continue
            label = {**label, "probability": value} if isinstance(label, dict) else [*label[:2], value]
        kept.append(label)
    return kept


class _Completion(BaseModel):
    model_config = ConfigDict(extra="ignore")
    response: StrictStr
    model: OptionalName = None
    principle: OptionalName = None
    custom_system_prompt: OptionalText = None


class _UltraFeedback(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: ReadPrompt
    completions: Annotated[list[dict[str, Any]], BeforeValidator(list_or_cell)]


def read_ultrafeedback(rows: Iterator[Row], collected: Collected) -> None:
    """UltraFeedback rows: `source` becomes the stratum, ratings go to the truth only."""
    for row in collected.readable(rows):
        collect_row(collected, row, lambda data: parse_ultrafeedback(data, collected))
        collected.note_unused(row, _ULTRAFEEDBACK)


def parse_ultrafeedback(data: dict[str, Any], collected: Collected) -> CanonicalRow:
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
                generator=name_or_none(completion.model, "model"),
                quality=completion_quality(item, collected),
                meta={key: value for key, value in meta.items() if value is not None},
            )
        )
    return _row(data, raw.prompt_id, raw.instruction, responses)


def completion_quality(completion: dict[str, Any], collected: Collected | None = None) -> float | None:
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


def _list_of_answers(value: Any) -> Any:
    value = list_or_cell(value)
    return [_unwrapped(item) for item in value] if isinstance(value, list) else value


def _unwrapped(item: Any) -> Any:
    """An answer that stands in a list of its own, as grouping steps leave it, is that answer."""
    return item[0] if isinstance(item, list) and len(item) == 1 and isinstance(item[0], str) else item


class _Distilabel(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: ReadPrompt
    generations: Annotated[list[Any], BeforeValidator(_list_of_answers)]
    generation_models: Annotated[list[OptionalName] | None, BeforeValidator(list_or_cell)] = None


def read_distilabel(rows: Iterator[Row], collected: Collected) -> None:
    """distilabel rows. A null generation (a failed call) is left out and counted."""
    for row in collected.readable(rows):
        collect_row(collected, row, lambda data: parse_distilabel(data, collected))
        collected.note_unused(row, _DISTILABEL)


def parse_distilabel(data: dict[str, Any], collected: Collected) -> CanonicalRow:
    """A distilabel row (`instruction` or `input`, `generations`, models, `ratings` or `ranks`). Raises RowError."""
    models = next((data[key] for key in _MODELS if data.get(key) is not None), None)
    single = next((data[key] for key in _MODEL if data.get(key) is not None), None)
    if models is None and isinstance(list_or_cell(single), list):
        models, single = single, None
    answers = next((data[key] for key in GENERATIONS if data.get(key) is not None), None)
    named = {**data, "generation_models": models, "generations": answers}
    if data.get("instruction") is None:
        named["instruction"] = data.get("prompt") if data.get("input") is None else data["input"]
    raw = validated(_Distilabel, named)
    count = len(raw.generations)
    models_of = raw.generation_models or [single] * count
    scores_name = next((key for key in _SCORES if data.get(key) is not None), "ratings")
    scores = data.get(scores_name)
    known = _scores(scores, scores_name, collected)
    if len(models_of) != count:
        raise RowError(f"field generation_models has {len(models_of)} entries for {count} generations")
    if known and len(known) != count:
        collected.note(f"rows hold {scores_name!r} of another number than generations; they were left out")
    ratings = known if len(known) == count else [None] * count
    responses = []
    for number, (answer, model, rating) in enumerate(zip(raw.generations, models_of, ratings, strict=True)):
        if answer is None:
            collected.note("generations are null (a failed call) and were left out")
            continue
        if not isinstance(answer, str) and not (isinstance(answer, list) and answer and isinstance(answer[0], dict)):
            raise RowError(f"field generations[{number}] must be text")
        told: dict[str, Any] = {"text": answer} if isinstance(answer, str) else {"text": "", "messages": answer}
        told |= {"generator": name_or_none(model, "generation_model"), "quality": rating}
        responses.append(validated(CanonicalResponse, told))
    return _row(data, raw.prompt_id, raw.instruction, responses)


def _scores(value: Any, name: str, collected: Collected) -> list[float | None]:
    """Scores, the highest the best, one per generation; none where there are none. A rank of 1 is the best."""
    value = list_or_cell(value)
    items = value if isinstance(value, list) else [] if value is None else [value]
    numbers = [outcome_or_none(item, name, collected) for item in items]
    return [None if number is None else -number for number in numbers] if name == "ranks" else numbers


def _row(data: dict[str, Any], prompt_id: str | None, prompt: Any, responses: list[CanonicalResponse]) -> CanonicalRow:
    stratum = name_or_none(data.get("stratum"), "stratum") or name_or_none(data.get("source"), "source")
    prompt = in_context(prompt, data)
    weight = positive_or_none(data.get("prompt_weight"), "prompt_weight")
    return CanonicalRow(prompt_id=prompt_id, prompt=prompt, responses=responses, stratum=stratum, prompt_weight=weight)
