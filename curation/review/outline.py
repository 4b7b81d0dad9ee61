"""What a sign-off puts a name to: labels, hours, strata, generators, and how the pairs were approved."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curation.batch.folder import BatchFolder, Record
from curation.pool.labels import people_only
from curation.pool.schema import prompt_text
from curation.review.store.decisions import Decision
from curation.review.store.ledger import CARRIED, FILED
from curation.review.store.store import Store

WORDS_A_MINUTE = 240  # silent reading of plain English
DECIDING = 15.0  # seconds beside the reading
LEAST_TIMES = 20  # imported times below which the assumption stands


@dataclass(frozen=True)
class Pace:
    """Seconds that one label takes. times: how many imported answers say so, 0 for an assumption."""

    seconds: float
    times: int

    def words(self) -> str:
        """Where the figure comes from."""
        if self.times:
            return f"the median of {self.times:,} imported answers of this pool"
        return (
            f"an assumption: prompt and both responses read once at {WORDS_A_MINUTE} words a minute, and "
            f"{DECIDING:g} s to decide"
        )


@dataclass(frozen=True)
class Manner:
    """How approvals came about, in pairs. acts: acts on many pairs at once. by: pairs by who approved them."""

    one_by_one: int
    at_once: int
    acts: int
    from_file: int
    carried: int
    by: Mapping[str, int]

    def sentence(self) -> str:
        """In plain words; forty pairs approved by one click are not forty pairs that were read."""
        parts = [f"{self.one_by_one:,} decided one by one, each on screen"] if self.one_by_one else []
        if self.at_once:
            acts = "one act" if self.acts == 1 else f"{self.acts} acts"
            parts.append(f"{self.at_once:,} by {acts} on everything a filter showed")
        parts += [f"{self.from_file:,} from a file"] if self.from_file else []
        parts += [f"{self.carried:,} carried over from an earlier batch"] if self.carried else []
        return f"Of the approved pairs: {'; '.join(parts)}." if parts else "No pair is approved."


@dataclass(frozen=True)
class Outline:
    """What is approved of a batch. labels: of it. cost: of the whole batch in units of `cost_of`, None without costs.

    strata, generators: labels by name, the largest first; a label counts for both of its generators.
    """

    pairs: int
    approved: tuple[Record, ...]
    labels: int
    cost: float | None
    cost_of: str | None
    strata: Mapping[str, int]
    generators: Mapping[str, int]
    manner: Manner
    pace: Pace

    def hours(self, seconds: float | None = None) -> float:
        """Hours of annotators' time. seconds: a label, instead of the pace known here."""
        return self.labels * (self.pace.seconds if seconds is None else seconds) / 3600

    def sentence(self) -> str:
        """What is to be signed, in a line."""
        cost = "" if self.cost is None else f", cost {self.cost:,.6g} ({self.cost_of}) for the whole batch"
        return f"{len(self.approved):,} of {self.pairs:,} pairs are approved: {self.labels:,} labels{cost}."


def outline(batch: BatchFolder, store: Store) -> Outline:
    """What is approved of a batch now, and how long labels of its pool have taken."""
    held = store.decisions(batch.batch_id)
    approved = tuple(r for r in batch.records if r["pair_id"] in held and held[r["pair_id"]].decision == "approve")
    strata: Counter[str] = Counter()
    generators: Counter[str] = Counter()
    for record in approved:
        strata[record["stratum"] or "(none)"] += record["copies"]
        for name in {record["generator_a"] or "(unknown)", record["generator_b"] or "(unknown)"}:
            generators[name] += record["copies"]
    return Outline(
        pairs=len(batch.records),
        approved=approved,
        labels=sum(record["copies"] for record in approved),
        cost=batch.manifest.get("cost_total"),
        cost_of=batch.manifest["settings"].get("cost"),
        strata=dict(strata.most_common()),
        generators=dict(generators.most_common()),
        manner=manner_of([held[r["pair_id"]] for r in approved], store.history(batch.batch_id)),
        pace=pace_of(approved or batch.records, store, batch.manifest["pool"]["fingerprint"]),
    )


def manner_of(approvals: Sequence[Decision], history: Iterable[Decision]) -> Manner:
    """How approvals that hold came about. history: every entry of the batch, so that an act's whole size is known."""
    sizes = Counter(entry.action for entry in history)
    kinds: Counter[str] = Counter()
    acts = set()
    for made in approvals:
        if made.action.startswith(CARRIED):
            kinds["carried"] += 1
        elif made.action.startswith(FILED):
            kinds["from_file"] += 1
        elif sizes[made.action] > 1:
            kinds["at_once"] += 1
            acts.add(made.action)
        else:
            kinds["one_by_one"] += 1
    by = Counter(made.who for made in approvals)
    return Manner(
        kinds["one_by_one"], kinds["at_once"], len(acts), kinds["from_file"], kinds["carried"], dict(by.most_common())
    )


def pace_of(records: Sequence[Record], store: Store, pool_fingerprint: str) -> Pace:
    """Seconds a label: the median of times that came back for this pool, else reading and deciding."""
    times = [
        label.seconds
        for stored in store.batches(pool_fingerprint)
        for label in people_only(store.labels(stored.batch_id))
        if label.seconds is not None
    ]
    if len(times) >= LEAST_TIMES:
        return Pace(float(statistics.median(times)), len(times))
    return Pace(assumed_seconds(records), 0)


def assumed_seconds(records: Sequence[Record]) -> float:
    """Mean seconds to read a pair's prompt and responses once and to decide, in whole seconds."""
    words = [
        sum(len(text.split()) for text in (prompt_text(r["prompt"]), r["response_a"], r["response_b"])) for r in records
    ]
    return float(round(DECIDING + 60 * statistics.fmean(words or [0]) / WORDS_A_MINUTE))
