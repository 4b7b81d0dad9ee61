"""Pairs of a pool that need no person: found once per pool, for every page that marks or leaves them out."""

from __future__ import annotations

import streamlit as st

from curation.health.foregone import foregone_pairs
from curation.pool.pair_lists import LocalPair
from curation.pool.schema import Pool


@st.cache_resource(max_entries=8, show_spinner="Looking for pairs whose outcome is known")
def known_pairs(fingerprint: str, _pool: Pool) -> frozenset[LocalPair]:
    """Pairs whose winner is known beforehand. Not to be changed by the caller."""
    return frozenset(pair for pair, _ in foregone_pairs(_pool))
