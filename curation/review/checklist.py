"""What must hold before a batch is signed, and what its signer should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.batch.folder import BatchFolder
from curation.batch.information import information_of
from curation.review.findings import batch_warnings
from curation.review.store.store import Store

GOOD = 0.8  # efficiency of what was approved from which the checklist is content


@dataclass(frozen=True)
class Check:
    """One line of the checklist. required: must hold before a batch can be signed."""

    name: str
    holds: bool
    figure: str
    required: bool


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
    told = information_of(batch, {r["pair_id"]: r["copies"] for r in batch.records if r["pair_id"] in approved})
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
    if told is not None and manifest.get("lower_bound"):
        efficiency = manifest["lower_bound"] / told["realised"]
        checks.append(
            Check(
                "What was approved is near the best possible batch",
                efficiency >= GOOD,
                f"efficiency {efficiency:.1%} of {manifest['efficiency']:.1%} planned",
                False,
            )
        )
    checks += _quota_checks(batch, approved)
    for finding in batch_warnings(batch, approved):
        known = finding.key in acknowledged or "all" in acknowledged
        figure = f"{finding.value:,.4g} {finding.unit}; --acknowledge {finding.key}"
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
