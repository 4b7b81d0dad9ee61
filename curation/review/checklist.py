"""What must hold before a batch is signed, and what its signer should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curation.batch.folder import BatchFolder
from curation.batch.information import valued
from curation.review.findings import batch_warnings
from curation.review.store.store import Store

GOOD = 0.8  # of the planned labels: worth of what was approved, from which the checklist is content


@dataclass(frozen=True)
class Check:
    """One line of the checklist. required: must hold before a batch can be signed."""

    name: str
    holds: bool
    figure: str
    required: bool

    @property
    def shown(self) -> str:
        """The figure as a page shows it, without the command line's option."""
        return self.figure.split(_OPTION)[0]


_OPTION = "; --acknowledge "


def checklist(batch: BatchFolder, store: Store, *, acknowledged: Sequence[str] = ()) -> list[Check]:
    """What must hold, and what a signer should know, before a batch goes out.

    acknowledged: keys of health findings that the signer has read and takes; `all` is every one.
    """
    return checks_of(batch, store.decided(batch.batch_id)[0], acknowledged=acknowledged)


def checks_of(batch: BatchFolder, words: Mapping[str, str], *, acknowledged: Sequence[str] = ()) -> list[Check]:
    """`checklist` of given decisions. words: pair_id -> approve, reject, flag or clear."""
    counts = Counter(words.get(record["pair_id"], "clear") for record in batch.records)
    manifest = batch.manifest
    approved = {key for key, word in words.items() if word == "approve"}
    checks = [
        Check("Every pair is decided", not counts["clear"], f"{counts['clear']} undecided", True),
        Check("No pair is flagged", not counts["flag"], f"{counts['flag']} flagged", True),
        Check("Something is approved", bool(approved), f"{counts['approve']} approved", True),
        Check(
            "The design is certified",
            manifest["stopped"] == "certificate",
            f"gap {manifest['gap']:.1e}, open {manifest['open']:.1e}",
            False,
        ),
    ]
    checks += _taught(batch, approved)
    checks += _quota_checks(batch, approved)
    for finding in batch_warnings(batch, approved):
        known = finding.key in acknowledged or "all" in acknowledged
        figure = f"{finding.value:,.4g} {finding.unit}{_OPTION}{finding.key}"
        checks.append(Check(f"Read and taken: {finding.title}", known, figure, True))
    if manifest.get("cost_total") is not None:
        budget = manifest["settings"]["budget"]
        checks.append(
            Check(
                "The cost is within the budget",
                manifest["cost_total"] <= budget * (1 + 1e-9),
                f"{manifest['cost_total']:g} of {budget:g} for the whole batch",
                False,
            )
        )
    return checks


def _taught(batch: BatchFolder, approved: set[str]) -> list[Check]:
    """What the approved pairs teach, in labels of this batch; nothing where none is approved.

    Neither the criterion over its bound nor a part of the way from no labels would tell: under a heavy prior no labels
    at all come near the bound, and under a light one any few labels do.
    """
    told = valued(batch)
    if told is None or not approved:
        return []
    copies = told.selected.copies
    kept = copies * np.array([pair in approved for pair in told.selected.pair_ids])
    worth, planned = told.worth(kept), int(copies.sum())
    figure = f"{kept.sum():,} of {planned:,} labels, worth {worth:,} of them drawn at random"
    return [Check("What was approved teaches what was planned", worth >= GOOD * planned, figure, False)]


def _quota_checks(batch: BatchFolder, approved: set[str]) -> list[Check]:
    labels: Counter[str] = Counter()
    for record in batch.records:
        if record["pair_id"] in approved:
            labels[record["stratum"] or "(none)"] += record["copies"]
    if batch.manifest["settings"].get("cost"):
        return []  # quotas are in cost units there
    out = []
    for name, (low, high) in (batch.manifest.get("quotas") or {}).items():
        top = float("inf") if high is None else high
        out.append(
            Check(f"Quota {name}", low <= labels[name] <= top, f"{labels[name]} approved of {low:g} to {top:g}", False)
        )
    return out
