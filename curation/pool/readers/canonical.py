"""The project's own rows: one prompt with its responses (`CanonicalRow`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.messages import literal
from curation.pool.prompts import CONTEXT, in_context
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import Collected, RowError, collect_row, list_or_cell, outcome_or_none, validated
from curation.pool.schema import CanonicalRow

_KNOWN = frozenset(CanonicalRow.model_fields) | {"prompt_messages"} | CONTEXT
_LISTED = ("scores", "rewards", "ratings")


class Canonical(Reader):
    """`prompt` (or `prompt_messages`) and `responses`."""

    name, rank, turn, says = "canonical", 10, 10, "prompt, responses"

    def fits(self, data: dict[str, Any]) -> bool:
        return "responses" in data and not {"prompt", "prompt_messages"}.isdisjoint(data)

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        for row in collected.readable(rows):
            collect_row(collected, row, lambda data: _parsed(data, collected))
            texts = isinstance(row.data.get("responses"), list) and row.data["responses"][:1]
            collected.note_unused(row, _KNOWN | {*_LISTED} if texts and isinstance(texts[0], str) else _KNOWN)
            collected.note_messages(row.data.get("prompt"))


PLUG = Canonical()


def _parsed(data: dict[str, Any], collected: Collected) -> CanonicalRow:
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
