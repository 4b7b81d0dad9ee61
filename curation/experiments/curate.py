"""The curation step of the policy experiments: this program's own pipeline on the experiment's pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.backtest.draw import Drawer
from curation.backtest.split import Rule
from curation.pool.schema import Pool, Prompt, Response
from curation.representation.features_file import FeatureTable, read_features
from curation.settings import PRESETS, DesignSettings, SpaceSettings


@dataclass(frozen=True)
class Chosen:
    """Pairs a rule bought: prompt number, two response numbers, copies of the label."""

    prompt: np.ndarray
    first: np.ndarray
    second: np.ndarray
    copies: np.ndarray


def make_pool(prompts: Sequence[str], responses: Sequence[Sequence[str]], *, name: str) -> Pool:
    """A pool of plain texts; ids are numbers."""
    entries = tuple(
        Prompt(f"{x:06d}", prompt, tuple(Response(f"{k}", text) for k, text in enumerate(texts)))
        for x, (prompt, texts) in enumerate(zip(prompts, responses, strict=True))
    )
    return Pool(entries, name=name)


def features_of(pool: Pool, model: Path | str, *, device: str, out: Path) -> FeatureTable:
    """Hidden states and log-probabilities of the SFT model on every candidate."""
    from curation.run.prepare import make_features

    make_features(pool, out, model=str(model), device=device)
    return read_features(out, pool.ids(), pool_fingerprint=pool.fingerprint)


def choose(
    pool: Pool, table: FeatureTable, rule: str, *, space: SpaceSettings, settings: DesignSettings, seed: int
) -> Chosen:
    """The pairs a rule buys. rule: `trace` is the design, `paper` HGM's variant of it, else a simple rule's name."""
    pick = "design" if rule in ("trace", "paper") else rule
    asked = settings
    if rule == "paper":
        hgm = PRESETS["hgm"]
        space, asked = hgm.space(space), hgm.design(settings)
    batch = Drawer()(pool, (table,), Rule(rule, pick, space, asked), [int(asked.budget)], [seed])[0][0]
    first, second, owner = _ends(pool, batch.pairs)
    return Chosen(owner, first, second, batch.copies)


def _ends(pool: Pool, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from curation.backtest.arena import pair_ends

    first, second, owner = (ends[pairs] for ends in pair_ends(pool))
    starts = pool.offsets()[owner]
    return first - starts, second - starts, owner
