"""How far the work is: what each step of it has come to, which is next, and what has moved on since it was signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ORDER = ("pool", "features", "design", "review", "signoff")  # what must be done before a batch may go out


@dataclass(frozen=True)
class KeptBatch:
    """A batch of the workspace. pairs: None where its folder cannot be read. decided: pairs with a decision that holds.
    signed_by: the name on its signature, "" for an unsigned one."""

    batch_id: str
    pairs: int | None
    decided: int = 0
    signed_by: str = ""


@dataclass(frozen=True)
class Work:
    """What is known without computing anything.

    prompts: None where the pool cannot be read. rejects: rows that cannot be used. features: whether there are any.
    labels: of the design of the present settings, None where it is not solved yet; present: the id its batch has, ""
    where that is not known. chosen: the batch opened on purpose, "" for the present design's. kept: of this pool, the
    newest first. tested: whether a backtest lies here, None where nothing can be tested.
    """

    prompts: int | None = None
    rejects: int = 0
    features: bool = False
    labels: int | None = None
    present: str = ""
    chosen: str = ""
    kept: Sequence[KeptBatch] = ()
    tested: bool | None = None

    @property
    def in_view(self) -> KeptBatch | None:
        """The batch that Review and Sign-off are about: the one opened, else the present design's."""
        wanted = self.chosen or self.present
        return next((batch for batch in self.kept if batch.batch_id == wanted), None)

    @property
    def moved_on(self) -> KeptBatch | None:
        """The newest signed batch, where the present settings make another one and it was not opened on purpose."""
        signed = next((batch for batch in self.kept if batch.signed_by), None)
        apart = signed is not None and self.labels is not None and self.present not in ("", signed.batch_id)
        return signed if apart and not self.chosen else None


@dataclass(frozen=True)
class Step:
    """Where a page of the work stands. words: a few, or "" for nothing to say. done: whether it needs no more."""

    words: str
    done: bool


def steps(work: Work) -> dict[str, Step]:
    """What stands beside each page's name, by its address; pages that only show have none."""
    batch = work.in_view
    return {
        "pool": _pool(work),
        "features": Step("ready" if work.features else "missing", work.features),
        "design": _design(work),
        "review": _review(work, batch),
        "signoff": Step(f"signed by {batch.signed_by}", True)
        if batch and batch.signed_by
        else Step("not signed", False),
        "evidence": Step({None: "", True: "tested", False: "not tested"}[work.tested], True),
    }


def next_step(work: Work) -> str | None:
    """The address of the first step that is not done; None where the batch in view is signed."""
    told = steps(work)
    return next((address for address in ORDER if not told[address].done), None)


def _pool(work: Work) -> Step:
    if work.prompts is None:
        return Step("cannot be read", False)
    rejected = f", {work.rejects:,} rows rejected" if work.rejects else ""
    return Step(f"{work.prompts:,} prompts{rejected}", True)


def _design(work: Work) -> Step:
    if work.labels is None:
        return Step("not solved yet", False)
    kept = {batch.batch_id for batch in work.kept}
    worked_on = any(batch.decided or batch.signed_by for batch in work.kept)
    changed = worked_on and bool(work.present) and work.present not in kept
    return Step(f"{work.labels:,} labels{', changed' if changed else ''}", True)


def _review(work: Work, batch: KeptBatch | None) -> Step:
    if batch is None:
        return Step("not begun", False)
    if batch.pairs is None:
        return Step(f"{batch.decided:,} decided", False)
    return Step(f"{batch.decided:,}/{batch.pairs:,}", batch.decided >= batch.pairs)
