"""Labelled pairs as TRL's explicit conversational preference rows, for DPOTrainer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.batch.presentation import Record
from curation.insight.graded import SOFT
from curation.pool.labels import MUCH, Label, graded_outcome, in_force, people_only, settled_only
from curation.pool.messages import Message, without_tools


@dataclass(frozen=True)
class Preferences:
    """Rows for training, one per pair that has a winner, and how many pairs have none, by reason.

    ties: rows of the same columns for pairs that are a tie or split, `chosen` being response a: only `target` tells.
    settled: pairs among both whose answer was settled after people took different sides.
    """

    rows: list[dict[str, Any]]
    left_out: dict[str, int]
    ties: list[dict[str, Any]] = field(default_factory=list)

    @property
    def settled(self) -> int:
        return sum(row.get("settled") is True for row in (*self.rows, *self.ties))


def preferences(records: Sequence[Record], labels: Iterable[Label], *, batch_id: str | None = None) -> Preferences:
    """One explicit row {prompt, chosen, rejected} of messages per pair with a majority; ties have no form in TRL.

    Slightly and much better are one vote each; beside them stand soft targets (`soft`) for trainers that take them, and
    where a row comes from and how likely the design was to ask for it (`origin`). A settled pair has its settled answer
    and `settled` true beside people's votes; the column is in every row where one pair is settled, else in none.
    left_out: pairs with `no label` (or skips only), a `tie` (half of the answers or more), answers that are `split`
    evenly, and `identical` texts, which DPO would take for a preference.
    """
    every = list(labels)
    settled = settled_only(every)
    answers, votes = _by_pair(in_force(every)), _by_pair(people_only(every))
    rows: list[dict[str, Any]] = []
    ties: list[dict[str, Any]] = []
    left_out = {"no label": 0, "tie": 0, "split": 0, "identical": 0}
    for record in records:
        told = answers.get(record["pair_id"], [])
        count = Counter(str(label.outcome) for label in told)
        reason = _reason(record, count)
        if reason is not None:
            left_out[reason] += 1
            if reason not in ("tie", "split"):
                continue
        winner, loser = ("b", "a") if reason is None and count["b"] > count["a"] else ("a", "b")
        prompt = record["prompt"]
        messages, tools = without_tools([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
        (rows if reason is None else ties).append(
            {
                "prompt": messages,
                "chosen": _said(record, winner),
                "rejected": _said(record, loser),
                **({"tools": tools} if tools else {}),
                **soft(told, winner, votes=votes.get(record["pair_id"], [])),
                **({"settled": record["pair_id"] in settled} if settled else {}),
                **origin(record, batch_id),
            }
        )
    return Preferences(rows, left_out, ties)


def _by_pair(labels: Iterable[Label]) -> dict[str, list[Label]]:
    """pair_id -> its answers; a skip is none."""
    found: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        if label.outcome != "skip":
            found[label.pair_id].append(label)
    return found


def origin(record: Record, batch_id: str | None) -> dict[str, Any]:
    """Where a row comes from, and how likely it was asked for.

    inclusion: labels of the pair that the design expected to draw, None where the batch was not drawn; 1 / inclusion
    weighs rows up to all pairs that could be drawn. design_weight: the pair's share in the design.
    """
    return {
        "pair_id": record["pair_id"],
        "batch_id": batch_id,
        "inclusion": record.get("inclusion"),
        "design_weight": record.get("weight"),
    }


def _said(record: Record, side: str) -> list[Message]:
    """A response as the messages it was given as; a plain text is one of the assistant."""
    return record.get(f"messages_{side}") or [{"role": "assistant", "content": record[f"response_{side}"]}]


def soft(told: Sequence[Label], winner: str, *, votes: Sequence[Label] | None = None) -> dict[str, float | int | None]:
    """Soft target of one pair's answers (no skips), seen from the response `winner`.

    told: the answers that count; votes: people's, where they are others (the pair is settled).
    votes_chosen, votes_rejected, votes_tie: people's answers, both bad among the ties. strength: mean of -2 to 2 over
    the answers with one, positive towards the chosen; None where none has. target: probability that the chosen wins,
    the mean of the answers' own (`insight.graded.SOFT`, which the backtest tests; a binary win is 1); below 1/2 where
    few strong answers oppose many slight ones. weight: answers; weight times the cross-entropy at target is the loss of
    all of them.
    """
    sign = 1 if winner == "a" else -1
    graded = [sign * graded_outcome(label) for label in told if label.graded]
    wins = [0.5 + sign * _worth(label) for label in told]
    loser = "b" if winner == "a" else "a"
    return {
        **{
            name: sum(label.outcome == outcome for label in (told if votes is None else votes))
            for name, outcome in (("votes_chosen", winner), ("votes_rejected", loser), ("votes_tie", "tie"))
        },
        "strength": sum(graded) / len(graded) if graded else None,
        "target": sum(wins) / len(wins),
        "weight": float(len(told)),
    }


def _worth(label: Label) -> float:
    """Probability that a wins, less 1/2."""
    if label.outcome == "tie":
        return 0.0
    size = 0.5
    if label.strength is not None:
        size = SOFT[-1 if label.strength == MUCH else -2] - 0.5
    return size if label.outcome == "a" else -size


def _reason(record: Record, count: Counter[str]) -> str | None:
    if not sum(count.values()):
        return "no label"
    if record["response_a"] == record["response_b"]:
        return "identical"
    if 2 * count["tie"] >= sum(count.values()):
        return "tie"
    return "split" if count["a"] == count["b"] else None
