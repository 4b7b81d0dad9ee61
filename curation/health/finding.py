"""Findings: what an analyst should mend before paying for labels, each with a sentence, a number and a remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a pool, its features or a design on it.

    key: a stable name. value: the number the sentence speaks of, in `unit`. examples: ids, the worst first: a
    (prompt_id, response_id, ...) tuple each, at most a few hundred.
    """

    key: str
    severity: Severity
    title: str
    sentence: str
    value: float
    unit: str
    remedy: str
    examples: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {**asdict(self), "examples": [list(item) for item in self.examples]}
