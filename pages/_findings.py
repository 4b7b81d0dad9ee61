"""Findings on a page: what is wrong, how much of it, what to do, and where to look."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from curation.health.finding import Finding
from pages._widgets import escaped

ICONS = {"warning": ":material/warning:", "note": ":material/info:"}


def show_findings(findings: Sequence[Finding], *, key: str, clean: str) -> None:
    """One expander per finding. clean: the sentence for a pool in which nothing was found."""
    if not findings:
        st.success(clean, icon=":material/check_circle:")
        return
    for finding in findings:
        title = f"**{escaped(finding.title)}** · {finding.value:,.4g} {escaped(finding.unit)}"
        with st.expander(title, icon=ICONS[finding.severity]):
            st.text(finding.sentence)
            st.text(f"What to do: {finding.remedy}")
            if finding.examples:
                width = max(map(len, finding.examples))
                names = ["prompt", "response", "other response"][:width]
                if finding.unit == "prompts":
                    names = ["prompt", *(f"the same again {n}" for n in range(1, width))]
                elif finding.key == "overdrawn":
                    names = ["generator"]
                rows = [[*item, *[""] * (width - len(item))] for item in finding.examples]
                st.dataframe(
                    pd.DataFrame(rows, columns=names),
                    hide_index=True,
                    width="stretch",
                    height=min(260, 38 + 35 * len(rows)),
                    key=f"{key}_{finding.key}",
                )
