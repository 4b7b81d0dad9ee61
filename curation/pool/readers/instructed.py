"""What formats of an instruction with a list of answers share: the prompt's fields, and the row made of them."""

from __future__ import annotations

from typing import Any

from curation.pool.prompts import CONTEXT, in_context
from curation.pool.readers.common import name_or_none, positive_or_none
from curation.pool.schema import CanonicalResponse, CanonicalRow

OF_PROMPT = frozenset(["prompt_id", "instruction", "stratum", "source", "prompt_weight"]) | CONTEXT


def prompt_row(
    data: dict[str, Any], prompt_id: str | None, prompt: Any, responses: list[CanonicalResponse]
) -> CanonicalRow:
    """A row with its answers, stratum (`stratum`, else `source`) and weight. Raises RowError naming the field."""
    stratum = name_or_none(data.get("stratum"), "stratum") or name_or_none(data.get("source"), "source")
    prompt = in_context(prompt, data)
    weight = positive_or_none(data.get("prompt_weight"), "prompt_weight")
    return CanonicalRow(prompt_id=prompt_id, prompt=prompt, responses=responses, stratum=stratum, prompt_weight=weight)
