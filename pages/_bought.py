"""The first part of the Evidence page: a real language model trained on the labels that each rule would buy."""

from typing import Any

import pandas as pd
import streamlit as st

from curation.charts.bought import accuracies, leads
from curation.charts.rules import short
from curation.experiments.answers import place
from curation.experiments.bundled import bundled
from curation.experiments.policy import read_result
from pages._shared import open_pool
from pages._widgets import chart, escaped


def results() -> list[dict[str, Any]]:
    """This pool's own result, where it has one, and the bundled ones."""
    own = read_result(place(open_pool().pool.name))
    return [*([{**own, "own": True}] if own is not None and "table" in own else []), *bundled()]


def section() -> None:
    """Bundled results and this pool's own, each with its verdict first."""
    found = results()
    st.header("A real model, trained on bought labels")
    if not found:
        st.info(
            "No result is at hand. One is made from the command line and takes hours; the manual says how.",
            icon=":material/hourglass_empty:",
        )
        return
    names = {title(result): result for result in found}
    picked = st.segmented_control(
        "Pool of answers", list(names), default=next(iter(names)), required=True, key="bought"
    )
    shown(names[picked])


def title(result: dict[str, Any]) -> str:
    """The pool, and whether it was run here."""
    return f"{result['pool']} (run here)" if result.get("own") else str(result["pool"])


def shown(result: dict[str, Any]) -> None:
    """Verdict, leads, accuracies, table, and how it was made."""
    ahead = any(
        lead["labels"] == "all" and lead["rule"] == "trace" and lead["reward"][1] > 0 for lead in result["leads"]
    )
    (st.success if ahead else st.warning)(escaped(result["verdict"]), icon=":material/gavel:")
    settings, training = result["settings"], result["settings"]["training"]
    model = str(result.get("model", settings.get("model", "")))
    st.caption(
        escaped(
            f"DPO of {model} on n labels chosen by each rule, judged on held-out prompts by the reward the policy gives "
            f"their answers; {len(settings['seeds'])} splits of {result['prompts']:,} prompts, adapters on the last "
            f"{settings['layers']} layers, the first {settings['tokens']} tokens of every answer, {training['epochs']} "
            f"passes over the labels, {result['seconds'] / 3600:.1f} hours on a CPU. "
        )
        + " ".join(escaped(words) for words in result["sentences"] if words != result["verdict"])
    )
    chart(leads(result), key="bought_leads")
    kinds = {"all pairs": "accuracy", "answers of one length": "matched"}
    kind = st.segmented_control("Pairs", list(kinds), default="all pairs", required=True, key="bought_pairs")
    chart(accuracies(result, kinds[kind]), key="bought_accuracy")
    with st.expander("Table"):
        st.dataframe(table(result), hide_index=True, width="stretch")
        st.caption("KL: nats between policy and reference over the answers judged, as training left it.")


def table(result: dict[str, Any]) -> pd.DataFrame:
    """Every rule and budget with its 95 % intervals."""

    def told(values: list[float], form: str) -> str:
        value, low, high = (format(v, form) for v in values)
        return f"{value} ({low} to {high})"

    return pd.DataFrame(
        {
            "rule": short(row["rule"]),
            "labels": row["labels"],
            "reward at equal KL": told(row["reward"], "+.3f"),
            "pairs right": told(row["accuracy"], ".1%"),
            "of one length": told(row["matched"], ".1%"),
            "KL (nats)": f"{row['kl']:.2f}",
        }
        for row in result["table"]
    )
