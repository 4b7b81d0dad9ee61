"""From a bar to the queue: a click on a chart, then the pairs of the present batch that stand under that bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.batch.records import pair_labels
from curation.insight.concentration import pair_table
from curation.run.results import Solved
from pages._picked import review_these
from pages._shared import solved_key
from pages._widgets import chart, escaped

HINT = "Click a bar to review its pairs."


@st.cache_resource(max_entries=8, show_spinner=False)
def _batch(key: str, _solved: Solved) -> pd.DataFrame:
    pool, geometry, pairs = _solved.prepared.pool, _solved.prepared.geometry, _solved.batch.pairs
    table = pair_table(pool, geometry, pairs)
    table["pair_id"] = [label[3] for label in pair_labels(pool, _solved, pairs)]
    table["distance"] = geometry.differences(pairs).norm(dim=1).cpu().numpy()
    inclusion = _solved.design.weights.cpu().numpy()[pairs] * _solved.feasible.labels
    return table.assign(inclusion=inclusion)


def bars(figure: Any, solved: Solved, columns: Sequence[str], what: str, *, key: str) -> None:
    """A chart whose bars can be clicked. columns: where of a pair of the batch a bar's `customdata` stands: a name in
    any of them, or a number of the one between the bar's two ends. what: what the pairs of a bar are, before its name."""
    event = chart(figure, key=key, on_select="rerun", selection_mode="points")
    points = event["selection"]["points"] if event else []
    told = [point["customdata"] for point in points if point.get("customdata") is not None]
    if not told:
        st.caption(HINT)
        return
    table, bar = _batch(solved_key(solved), solved), told[0] if isinstance(told[0], list) else [told[0]]
    if len(bar) == 1:
        chosen, name = table[list(columns)].eq(bar[0]).any(axis=1).to_numpy(), escaped(str(bar[0])[:60])
    else:
        chosen, name = within(table[columns[0]].to_numpy(), bar), f"{bar[0]:,.4g} to {bar[1]:,.4g}"
    ids = table["pair_id"][chosen].tolist()
    if ids:
        review_these(
            ids, f"{what} {name}", key=f"review_{key}",
            label=f"Review {'the pair' if len(ids) == 1 else f'the {len(ids):,} pairs'} {what} {name}",
        )  # fmt: skip
    else:
        st.caption(f"No pair of this batch is {what} {name}.")


def within(values: np.ndarray, ends: Sequence[float]) -> np.ndarray:
    """Which values (n,) lie under a bar: from its lower end up to its upper one, the last bar's own end included."""
    low, high = ends[0], ends[1]
    last = len(ends) > 2 and bool(ends[2])
    found: np.ndarray = (values >= low) & ((values <= high) if last else (values < high))
    return found
