"""Pairs on which people took different sides: one at a time, side by side, and the answer that counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.errors import CurationError
from curation.pool.schema import prompt_text
from curation.review.settling import settle, settled_words
from pages._guard import acting
from pages._shared import reviewer
from pages._store import review_store
from pages._widgets import escaped, show_text

NAMES = {"a": "A", "b": "B", "tie": "Tie", "skip": "Skip"}
SIZES = {1: " (slightly)", 2: " (much)"}


@dataclass
class ConflictState:
    """Which pair is in view, what the last settling said (whether it went well, the words), whether it changed any."""

    pair: str | None = None
    told: tuple[bool, str] | None = None
    changed: bool = False


def conflict_state() -> ConflictState:
    """This session's; to be changed in place."""
    found: ConflictState = st.session_state.setdefault("conflicts", ConflictState())
    return found


def show_conflicts(folder: Path, batch: BatchFolder, report: dict[str, Any]) -> None:
    """The pairs that are to be settled or are, open ones first. report: of `label_report`."""
    found = [*report["conflicts"], *report["agreed_since"]]
    if not found:
        return
    total = len(report["conflicts"])  # the heading stays as it is while pairs are settled, so that it stays open
    with st.expander(f"{total:,} pairs on which people took different sides", icon=":material/compare_arrows:"):
        st.caption(
            f"{report['open_conflicts']:,} of them are open. A settled pair has its settled answer in training rows and "
            "later batches, an open one what most people said; people's own answers stay as they are."
        )
        one_conflict(folder, batch, found)
        st.dataframe(
            pd.DataFrame(map(_row, found)), hide_index=True, width="stretch", height=240, key="label_conflicts"
        )


@st.fragment
@acting
def one_conflict(folder: Path, batch: BatchFolder, found: list[dict[str, Any]]) -> None:
    """One pair with what people said of it, the buttons that settle it, and the way to the others."""
    seen = conflict_state()
    if seen.changed:
        seen.changed = False
        st.rerun()  # the whole page: the report is no longer what it was
    told, seen.told = seen.told, None
    if told:
        (st.success if told[0] else st.warning)(escaped(told[1]), icon=":material/gavel:")
    keys = [one["pair_id"] for one in found]
    place = keys.index(seen.pair) if seen.pair in keys else 0
    one = found[place]
    settled = one["settled"]
    following = next((key for key in open_pairs(found[place + 1 :] + found[:place])), None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", key="conflict_previous", on_click=go_to, args=(keys[place - 1],), disabled=not place)
        st.button(
            "Next", key="conflict_next", on_click=go_to, args=(keys[(place + 1) % len(keys)],),
            disabled=place + 1 == len(keys),
        )  # fmt: skip
        st.button("Next open", key="conflict_open", on_click=go_to, args=(following,), disabled=following is None)
        st.caption(f"{place + 1:,} of {len(keys):,}: pair {escaped(one['pair_id'])}, {state(one)}")
    record = next((r for r in batch.records if r["pair_id"] == one["pair_id"]), None)
    if record is None:
        st.caption("This pair is not in the batch folder.")
        return
    prompt = prompt_text(record["prompt"])
    show_text(prompt, height=150 if len(prompt) > 300 else None)
    for column, side in zip(st.columns(2), ("a", "b"), strict=True):
        with column:
            said(one, side)
            show_text(record[f"response_{side}"], height=320)
    for side in ("tie", "skip"):
        if voices(one, side):
            said(one, side)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Settle as" if settled is None else "Change to", width="content")
        for side in ("a", "b", "tie"):
            st.button(
                NAMES[side],
                key=f"settle_{side}_{one['pair_id']}",  # a second click never falls on the next pair
                on_click=settle_as,
                args=(folder, one["pair_id"], side, None if settled is None else settled["outcome"], following),
                disabled=settled is not None and settled["outcome"] == side,
            )


def open_pairs(found: list[dict[str, Any]]) -> list[str]:
    """Ids of the pairs that nobody has settled."""
    return [one["pair_id"] for one in found if one["settled"] is None]


def state(one: dict[str, Any]) -> str:
    """How a pair stands, in a few words."""
    differ = "people agree since" if one["agreed"] else "opposite sides" if one["opposed"] else "a side and a tie"
    return f"{differ}, {'open' if one['settled'] is None else escaped(settled_words(one['settled']))}"


def said(one: dict[str, Any], side: str) -> None:
    """An answer and who gave it; names as plain text, as addresses would be made links."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{NAMES[side]}**", width="content")
        st.text(voices(one, side) or "nobody", width="stretch")


def voices(one: dict[str, Any], side: str) -> str:
    """Who gave this answer."""
    return ", ".join(
        answer["annotator"] + (" (both bad)" if answer["both_bad"] else SIZES.get(answer["strength"], ""))
        for answer in one["answers"]
        if answer["outcome"] == side
    )


def _row(one: dict[str, Any]) -> dict[str, str]:
    settled = one["settled"]
    return {
        "pair": one["pair_id"],
        "settled": "open" if settled is None else settled["outcome"],
        "by": "" if settled is None else settled["who"] or "",
        "differ": "agree since" if one["agreed"] else "opposite sides" if one["opposed"] else "a side and a tie",
        "answers": ", ".join(f"{answer['annotator']}: {answer['outcome']}" for answer in one["answers"]),
    }


@acting
def go_to(key: str | None) -> None:
    """Show another pair."""
    conflict_state().pair = key


@acting
def settle_as(folder: Path, pair_id: str, outcome: str, seen: str | None, following: str | None) -> None:
    """Keep the answer and go on to the next open pair. seen: the settled answer that was on screen, if any."""
    at = conflict_state()
    at.changed, at.pair = True, pair_id
    try:
        made = settle(folder, pair_id, outcome, who=reviewer(), instead_of=seen, store=review_store())
    except CurationError as error:
        at.told = False, str(error)
        return
    done = f"Pair {pair_id} is settled as {NAMES[outcome]}. {made['open']:,} are open."
    at.told = True, done
    if seen is None and following is not None:
        at.pair = following
