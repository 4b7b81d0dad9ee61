"""distilabel: a list of generations with models and ratings. A null one (a failed call) is left out and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

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
from curation.pool.schema import CanonicalResponse, CanonicalRow, OptionalId, OptionalName, ReadPrompt

_MODELS = ("generation_models", "model_names", "grouped_model_name", "merged_model_name")
_MODEL = ("generation_model", "model_name")
_SCORES = ("ratings", "rating", "scores", "ranks")
_GENERATIONS = ("generations", "grouped_generation", "merged_generation", "candidates")
_PROMPT = ("instruction", "input", "prompt")
_KNOWN = OF_PROMPT | {*_PROMPT, *_MODELS, *_MODEL, *_SCORES, *_GENERATIONS}


class Distilabel(Reader):
    """`generations` beside an instruction; under its other names only what no other format is content with."""

    name, rank, turn, says = "distilabel", 50, 30, "instruction, generations"

    def fits(self, data: dict[str, Any]) -> bool:
        return "generations" in data and not {"instruction", "input"}.isdisjoint(data)

    def may_fit(self, data: dict[str, Any]) -> bool:
        return not (data.keys().isdisjoint(_GENERATIONS) or data.keys().isdisjoint(_PROMPT))

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        for row in collected.readable(rows):
            collect_row(collected, row, lambda data: _parsed(data, collected))
            collected.note_unused(row, _KNOWN)


PLUG = Distilabel()


def _list_of_answers(value: Any) -> Any:
    value = list_or_cell(value)
    return [_unwrapped(item) for item in value] if isinstance(value, list) else value


def _unwrapped(item: Any) -> Any:
    """An answer that stands in a list of its own, as grouping steps leave it, is that answer."""
    return item[0] if isinstance(item, list) and len(item) == 1 and isinstance(item[0], str) else item


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_id: OptionalId = None
    instruction: ReadPrompt
    generations: Annotated[list[Any], BeforeValidator(_list_of_answers)]
    generation_models: Annotated[list[OptionalName] | None, BeforeValidator(list_or_cell)] = None


def _parsed(data: dict[str, Any], collected: Collected) -> CanonicalRow:
    """One row (`instruction` or `input`, `generations`, models, `ratings` or `ranks`). Raises RowError."""
    models = next((data[key] for key in _MODELS if data.get(key) is not None), None)
    single = next((data[key] for key in _MODEL if data.get(key) is not None), None)
    if models is None and isinstance(list_or_cell(single), list):
        models, single = single, None
    answers = next((data[key] for key in _GENERATIONS if data.get(key) is not None), None)
    named = {**data, "generation_models": models, "generations": answers}
    if data.get("instruction") is None:
        named["instruction"] = data.get("prompt") if data.get("input") is None else data["input"]
    raw = validated(_Row, named)
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
    return prompt_row(data, raw.prompt_id, raw.instruction, responses)


def _scores(value: Any, name: str, collected: Collected) -> list[float | None]:
    """Scores, the highest the best, one per generation; none where there are none. A rank of 1 is the best."""
    value = list_or_cell(value)
    items = value if isinstance(value, list) else [] if value is None else [value]
    numbers = [outcome_or_none(item, name, collected) for item in items]
    return [None if number is None else -number for number in numbers] if name == "ranks" else numbers
