"""What an act on many pairs would change, told before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from curation.batch.folder import BatchFolder
from curation.batch.information import Valued, valued
from curation.errors import BatchError
from curation.pool.limits import cost_parts
from curation.pool.schema import Pool


@dataclass(frozen=True)
class Kept:
    """A batch without its rejected pairs.

    criterion: f of what is kept, nan where the folder does not hold its criterion. least: information about the Fisher
    direction that lost most, as a share of the plan's. strata: labels of each. undecided: pairs. cost: of the labels,
    in units of the batch's cost, None where labels cost alike.
    """

    pairs: int
    labels: int
    criterion: float
    least: float
    strata: dict[str, int]
    undecided: int
    cost: float | None = None


@dataclass(frozen=True)
class Price:
    """Before and after an act. overruled: pairs among it that somebody has decided otherwise, by person."""

    before: Kept
    after: Kept
    overruled: dict[str, int]

    @property
    def rise(self) -> float:
        """Rise of the criterion, as a share."""
        return self.after.criterion / self.before.criterion - 1

    def rows(self) -> list[tuple[str, str, str]]:
        """(what, before, after) for people, strata that change included."""
        a, b = self.before, self.after
        out = [
            ("pairs kept", f"{a.pairs:,}", f"{b.pairs:,}"),
            ("labels to pay", f"{a.labels:,}", f"{b.labels:,}"),
            ("undecided", f"{a.undecided:,}", f"{b.undecided:,}"),
        ]
        if a.cost is not None and b.cost is not None:
            out.insert(2, ("cost", f"{a.cost:,.6g}", f"{b.cost:,.6g}"))
        if np.isfinite(a.criterion):
            out += [
                ("criterion (smaller is better)", f"{a.criterion:.4g}", f"{b.criterion:.4g} ({self.rise:+.2%})"),
                ("least covered Fisher direction, of the plan", f"{a.least:.0%}", f"{b.least:.0%}"),
            ]
        for name in sorted({*a.strata, *b.strata}):
            if a.strata.get(name, 0) != b.strata.get(name, 0):
                out.append((f"labels in {name}", f"{a.strata.get(name, 0):,}", f"{b.strata.get(name, 0):,}"))
        return out


def price_of(
    batch: BatchFolder,
    decisions: Mapping[str, object],
    pair_ids: Iterable[str],
    decision: str,
    *,
    costs: Mapping[str, float] | None = None,
) -> Price:
    """The price of one decision for many pairs of a batch. decisions: pair_id -> the decision that holds.

    costs: pair_id -> cost of one label, of `label_costs`. A pair counts as kept until it is rejected: undecided and
    flagged pairs may still go out.
    """
    words = {key: str(getattr(made, "decision", made)) for key, made in decisions.items()}
    wanted = set(pair_ids)
    after = {**words, **dict.fromkeys(wanted, decision)}
    overruled = Counter(
        str(getattr(decisions[key], "who", "somebody"))
        for key in wanted
        if words.get(key, "clear") not in ("clear", decision)
    )
    told = _Teller(batch, costs)
    return Price(told(words), told(after), dict(overruled))


def label_costs(batch: BatchFolder, pool: Pool) -> dict[str, float] | None:
    """pair_id -> what one label costs, for a batch with a cost; None where labels cost alike. Raises PoolError and
    BatchError."""
    name = batch.manifest["settings"].get("cost")
    if not name:
        return None
    prompts, responses = (np.nan_to_num(part) for part in cost_parts(pool, name))
    places: dict[str, tuple[int, dict[str, int]]] = {}
    row = 0
    for x, prompt in enumerate(pool.prompts):
        places[prompt.prompt_id] = x, {r.response_id: row + k for k, r in enumerate(prompt.responses)}
        row += len(prompt.responses)
    found = {}
    for record in batch.records:
        try:
            x, rows = places[record["prompt_id"]]
            both = responses[rows[record["response_a_id"]]] + responses[rows[record["response_b_id"]]]
        except KeyError:
            raise BatchError(
                f"pair {record['pair_id']} of batch {batch.batch_id} is not in this pool; open its own pool."
            ) from None
        found[record["pair_id"]] = float(prompts[x] + both)
    return found


class _Teller:
    """Figures of a batch under given decisions; its files are read once."""

    def __init__(self, batch: BatchFolder, costs: Mapping[str, float] | None) -> None:
        self.costs = costs
        self.records = batch.records
        self.told = valued(batch)
        if self.told is not None:
            values, vectors = np.linalg.eigh(self.told.criterion.fisher.numpy())
            self.basis = vectors[:, values > values.max() * 1e-12]
            self.prior = np.einsum("dk,de,ek->k", self.basis, self.told.criterion.prior.numpy(), self.basis)
            self.plan = self._along(self.told, self.told.selected.copies.astype(float))

    def _along(self, told: Valued, copies: np.ndarray) -> np.ndarray:
        """u'Su of every Fisher direction, prior included."""
        along = np.square(told.selected.sensitivities @ self.basis).T @ (copies / told.labels)
        return np.asarray(along + self.prior)

    def __call__(self, words: Mapping[str, str]) -> Kept:
        kept = [record for record in self.records if words.get(record["pair_id"]) != "reject"]
        strata: Counter[str] = Counter()
        for record in kept:
            strata[record["stratum"] or "(none)"] += record["copies"]
        criterion = least = float("nan")
        if self.told is not None:
            selected = self.told.selected
            gone = np.array([words.get(key) == "reject" for key in selected.pair_ids])
            copies = np.where(gone, 0.0, selected.copies.astype(float))
            criterion = self.told.value(copies)
            least = float((self._along(self.told, copies) / self.plan).min())
        return Kept(
            pairs=len(kept),
            labels=sum(record["copies"] for record in kept),
            criterion=criterion,
            least=least,
            strata=dict(strata),
            undecided=sum(words.get(record["pair_id"], "clear") == "clear" for record in self.records),
            cost=None if self.costs is None else sum(self.costs[r["pair_id"]] * r["copies"] for r in kept),
        )
