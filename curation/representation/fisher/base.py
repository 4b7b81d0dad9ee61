"""What a kind of Fisher matrix is (docs/method.md section 2). A module of this folder that offers a `PLUG` is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.errors import RepresentationError
from curation.registry import Registry

if TYPE_CHECKING:  # options ask for names only
    import numpy as np
    from numpy.typing import NDArray

CROWDED = 1.5  # effective candidates below which one of them has nearly all mass
MANY = 0.1  # share of such prompts that is worth a warning


@dataclass(frozen=True)
class Given:
    """What probabilities are made of. phi: (N, d). offsets: (P+1,). logprob: (N,) nats, nan where unknown.
    temperature: of a softmax over them. n_tokens: (N,) where they may count per token, else None."""

    phi: NDArray[np.float64]
    offsets: NDArray[np.int64]
    logprob: NDArray[np.float64]
    temperature: float
    n_tokens: NDArray[np.float64] | None

    @property
    def lacking(self) -> str:
        """Which log-probabilities are missing, in words; "" where none is."""
        import numpy as np

        total = self.logprob.size
        missing = int(np.sum(~np.isfinite(self.logprob)))
        if missing == total:
            return "no response has a reference log-probability"
        return f"{missing:,} of {total:,} responses have no reference log-probability" if missing else ""


@dataclass(frozen=True)
class Probabilities:
    """Probability of each candidate of its prompt, and how it was come by."""

    p: NDArray[np.float64]  # (N,), sums to 1 in each prompt
    kind: str  # the kind used, never "auto"
    reason: str  # one sentence for people
    fit_r2: float | None  # share of the log-probabilities' variance that theta_0 explains on prompts left out of a fit
    effective: NDArray[np.float64]  # (P,) exp of the entropy: the effective number of candidates

    @property
    def crowded(self) -> float:
        """Share of the prompts in which nearly all mass sits on one candidate."""
        return float((self.effective < CROWDED).mean())

    def warning(self) -> str | None:
        """What to know where the mass sits on one candidate in many prompts, else None."""
        if self.crowded <= MANY:
            return None
        return (
            f"in {self.crowded:.0%} of the prompts nearly all probability sits on one candidate (fewer than "
            f"{CROWDED:g} effective ones), so the Fisher matrix sees few directions there: use "
            + (
                "--fisher uniform, --per-token, or a higher --temperature."
                if FISHERS[self.kind].tempered
                else "--fisher uniform, or empirical."
            )
        )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of Fisher matrix, by the probabilities it takes.

    name: in options, addresses and files. rank: its place in lists, and among those `auto` asks. probabilities: where
    it is asked for by name. unasked: what `auto` gets of it, given why the kinds before it would not do: probabilities,
    or why it will not do either, a clause without a full stop; None where nobody gets it unasked. needs_logprobs: of
    every response. tempered: whether temperature and tokens count. chooses: it only asks the other kinds.
    """

    name: str
    rank: int
    probabilities: Callable[[Given], Probabilities]
    unasked: Callable[[Given, str], Probabilities | str] | None = None
    needs_logprobs: bool = False
    tempered: bool = False
    chooses: bool = False


FISHERS: Registry[Kind] = Registry("curation.representation.fisher", "Fisher kind", RepresentationError)


def softmaxed(kind: str, given: Given, logits: NDArray[np.float64], how: str) -> Probabilities:
    """Probabilities of logits (N,) within prompts. how: they were come by, a clause."""
    import numpy as np

    from curation.representation.segments import effective_candidates, softmax_within

    p = softmax_within(logits, given.offsets)
    effective = effective_candidates(p, given.offsets)
    median = float(np.median(effective))
    reason = f"{kind}: {how}; {median:.1f} effective candidates in the median prompt."
    return Probabilities(p, kind, reason, None, effective)
