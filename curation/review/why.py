"""Why a person is needed for a pair: one sentence, from its figures and its texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curation.health.foregone import Foregone

LIKELY = 0.8  # of the two answers' probability under the reference, from which it leans clearly


def why_a_person(
    record: Mapping[str, Any], known: Foregone | None, *, names: tuple[str, str] = ("left-hand", "right-hand")
) -> str:
    """One sentence on a record of a batch. known: what its texts tell beforehand, by sides on screen."""
    if known is not None:
        return known.sentence(names)
    parts = record["directions"]
    where = f" (direction {parts[0]['direction'] + 1} first)" if parts else ""
    return (
        f"Why a person: {_open(record, names)}. {_worth(record['score'])}{where}; dropping it costs "
        f"{record['drop_cost']:.2%}."
    )


def _worth(score: float) -> str:
    return "Worth an average label" if 0.95 <= score <= 1.05 else f"Worth {score:.1f} average labels"


def _open(record: Mapping[str, Any], names: tuple[str, str]) -> str:
    """What is not known of the outcome, with what the reference says of it where it says anything."""
    both = [record["reference_probability_a"], record["reference_probability_b"]]
    if None in both or not sum(both):
        return "the texts do not decide it"
    order = both if record["left"] == "a" else both[::-1]
    share = order[0] / sum(order)
    if max(share, 1 - share) < LIKELY:
        return "the reference could say either"
    likelier = names[0 if share > 0.5 else 1]
    return f"the reference likes the {likelier} one, people may not"
