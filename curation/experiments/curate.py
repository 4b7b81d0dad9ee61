"""The curation step of the policy experiments: this program's own pipeline on the experiment's pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.backtest.contrasts.base import CONTRASTS
from curation.backtest.draw import Drawer
from curation.backtest.split import Known, Rule
from curation.design.rules.base import RULES
from curation.design.selection.sampling import Batch
from curation.experiments.training import PolicyError
from curation.pool.schema import Pool, Prompt, Response
from curation.representation.features_file import FeatureTable, read_features
from curation.settings import PRESETS, DesignSettings, SpaceSettings

_PRESETS = {"paper": "hgm", "0.2.0": "0.2.0"}  # rules that are the design under other settings


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
    """The pairs a rule buys, by prompt and response number. rule: as `buy`."""
    batch = buy(pool, table, rule, space=space, settings=settings, seed=seed)
    first, second, owner = _ends(pool, batch.pairs)
    return Chosen(owner, first, second, batch.copies)


def buy(
    pool: Pool,
    table: FeatureTable,
    rule: str,
    *,
    space: SpaceSettings,
    settings: DesignSettings,
    seed: int,
    known: Known | None = None,
) -> Batch:
    """The batch a rule buys. rule: `trace` is the design, `paper` HGM's variant of it, `0.2.0` that of the old default,
    else the name of a simple rule or contrast. known: what informed contrasts are told. Raises PolicyError for others.
    """
    preset = PRESETS.get(_PRESETS.get(rule, ""))
    pick = "design" if rule == "trace" or preset is not None else rule
    offered = ["trace", *_PRESETS, *(r.name for r in RULES), *(c.name for c in CONTRASTS if known or not c.informed)]
    if rule not in offered:
        raise PolicyError(f"--rules {rule} is unknown; use {', '.join(offered)}.")
    if preset is not None:
        space, settings = preset.space(space), preset.design(settings)
    asked = Rule(rule, pick, space, settings)
    return Drawer()(pool, (table,), asked, [int(settings.budget)], [seed], known=known)[0][0]


def _ends(pool: Pool, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from curation.backtest.arena import pair_ends

    first, second, owner = (ends[pairs] for ends in pair_ends(pool))
    starts = pool.offsets()[owner]
    return first - starts, second - starts, owner
