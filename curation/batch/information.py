"""What labels that came back are worth: the criterion of the batch with them, against the criterion planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation.batch.folder import BatchFolder, SelectedPairs, read_information
from curation.errors import BatchError
from curation.pool.labels import Label
from curation.setting_rules import LABELS_MOST

if TYPE_CHECKING:
    from curation.design.criteria.base import Criterion

DRAWS = 6  # random orders of a batch's labels


@dataclass(frozen=True)
class Valued:
    """A batch's pairs with the criterion it was solved for. labels: planned."""

    criterion: Criterion
    selected: SelectedPairs
    labels: float

    def value(self, copies: np.ndarray) -> float:
        """f with `copies` (m,) labels on the pairs."""
        import torch

        z = torch.as_tensor(self.selected.sensitivities.copy())
        return self.criterion.value(z.T @ (z * torch.as_tensor(copies / self.labels)[:, None]))

    def worth(self, copies: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> int:
        """How many of the batch's labels, drawn at random, teach as much as `copies` (m,) of them: 0 to all.

        A scale that no prior bends: no labels are worth none, the whole batch all of it, and labels that were left out
        at random as many as there are. The criterion's mean over `draws` orders is what is met. Raises
        BatchError for more labels than a batch may have.
        """
        held = int(self.selected.copies.astype(float).sum())
        if held > LABELS_MOST:
            raise BatchError(
                f"the batch's selected pairs hold {held:,} labels, over the {LABELS_MOST:,} that a batch may."
            )
        units = np.repeat(np.arange(len(copies)), self.selected.copies)
        target = self.value(copies)
        rng = np.random.default_rng([seed, 29])
        orders = [rng.permutation(units) for _ in range(draws)]

        def mean(labels: int) -> float:
            drawn = (np.bincount(order[:labels], minlength=len(copies)).astype(float) for order in orders)
            return float(np.mean([self.value(counts) for counts in drawn]))

        low, high = 0, len(units)  # more than `low` are needed, unless none are
        if mean(low) <= target:
            return low
        if np.array_equal(copies, self.selected.copies):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if mean(middle) <= target else (middle, high)
        return high


def valued(batch: BatchFolder) -> Valued | None:
    """What a batch's labels are valued by; None for a folder that does not hold its criterion. A manifest that names
    none is of a time when there was the trace alone. Raises BatchError for one that is not here."""
    stored = read_information(batch)
    if stored is None:
        return None
    import torch

    from curation.design.criteria.base import CRITERIA

    name = batch.manifest["settings"].get("criterion", "trace")
    if not isinstance(name, str) or name not in CRITERIA:
        raise BatchError(
            f"batch {batch.batch_id} was solved for criterion {name!r:.60}, and here are "
            f"{', '.join(CRITERIA.names())}; open it with the version that made it."
        )
    fisher, prior = torch.as_tensor(stored[0]), torch.as_tensor(stored[1])
    return Valued(CRITERIA[name].make(fisher, prior), stored[2], float(batch.manifest["labels"]))


def _counted(labels: Sequence[Label]) -> Counter[str]:
    """Labels per pair, skips left out: a tie teaches as much as a win."""
    return Counter(label.pair_id for label in labels if label.outcome != "skip")


def realised_information(batch: BatchFolder, labels: Sequence[Label]) -> dict[str, float] | None:
    """`information_of` the pairs that came back labelled."""
    return information_of(batch, _counted(labels))


def information_of(batch: BatchFolder, counts: Mapping[str, int]) -> dict[str, float] | None:
    """The criterion of the whole batch, of the pairs counted, and their ratio (1: nothing was lost).

    counts: pair_id -> labels, of which up to the copies that were planned count. None for a batch folder that does not
    hold its criterion.
    """
    told = valued(batch)
    if told is None:
        return None
    got = np.array([counts.get(pair, 0) for pair in told.selected.pair_ids], dtype=float)
    copies = told.selected.copies.astype(float)
    planned, realised = told.value(copies), told.value(np.minimum(got, copies))
    return {
        "planned": planned,
        "realised": realised,
        "share": planned / realised,
        "labelled_pairs": float((got > 0).sum()),
        "pairs": float(len(got)),
    }
