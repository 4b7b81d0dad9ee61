"""Labelled pairs as TRL's explicit conversational preference rows, for DPOTrainer."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import ExportError
from curation.exchange_formats.common import Record
from curation.pool.labels import Label


@dataclass(frozen=True)
class Preferences:
    """Rows for training, one per pair that has a winner, and how many pairs have none, by reason."""

    rows: list[dict[str, Any]]
    left_out: dict[str, int]


def preferences(records: Sequence[Record], labels: Iterable[Label]) -> Preferences:
    """One explicit row {prompt, chosen, rejected} of messages per pair with a majority; ties have no form in TRL.

    left_out: pairs with `no label` (or skips only), a `tie` (half of the answers or more), answers that are `split`
    evenly, and `identical` texts, which DPO would take for a preference.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
        if label.outcome != "skip":
            votes[label.pair_id][label.outcome] += 1
    rows = []
    left_out = {"no label": 0, "tie": 0, "split": 0, "identical": 0}
    for record in records:
        count = votes.get(record["pair_id"], Counter())
        reason = _reason(record, count)
        if reason is not None:
            left_out[reason] += 1
            continue
        winner, loser = ("a", "b") if count["a"] > count["b"] else ("b", "a")
        prompt = record["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        rows.append(
            {
                "prompt": [{"role": m["role"], "content": m["content"]} for m in messages],
                "chosen": [{"role": "assistant", "content": record[f"response_{winner}"]}],
                "rejected": [{"role": "assistant", "content": record[f"response_{loser}"]}],
            }
        )
    return Preferences(rows, left_out)


def _reason(record: Record, count: Counter[str]) -> str | None:
    if not sum(count.values()):
        return "no label"
    if record["response_a"] == record["response_b"]:
        return "identical"
    if 2 * count["tie"] >= sum(count.values()):
        return "tie"
    return "split" if count["a"] == count["b"] else None


def write_trl(rows: Sequence[dict[str, Any]], out: str | Path, *, force: bool = False) -> Path:
    """Write rows as JSON Lines, whole or not at all. Raises ExportError."""
    path = Path(out)
    if path.exists() and not force:
        raise ExportError(f"{path} exists; choose another --out, or replace it with --force.")
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with staging.open("w", encoding="utf-8", newline="\n") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            handle.flush()
            os.fsync(handle.fileno())
        staging.replace(path)
    except OSError as error:
        raise ExportError(
            f"{path} could not be written ({error.strerror or error}); nothing was exported: choose another place."
        ) from error
    finally:
        staging.unlink(missing_ok=True)
    return path
