"""The backtest part of the Evidence page: does choosing pairs pay, where outcomes are known?"""

from dataclasses import asdict

import pandas as pd
import streamlit as st

from curation.backtest.report import DECLARED, Report
from curation.backtest.run import Options, Result, place, read
from curation.backtest.worth import testable
from curation.charts.backtest import misled_directions, paired_differences, reward_curves
from curation.charts.rules import short
from curation.dashboard.jobs import latest_job, start_job
from pages._jobs import job_panel
from pages._shared import current_view, features_path, open_pool, reviewer
from pages._store import guarded, review_store
from pages._widgets import chart, escaped

SEEDS = 24


def stored() -> Result | None:
    """The backtest of this pool that lies here, None where there is none."""
    return guarded(lambda: read(place(open_pool().pool)))


def section() -> None:
    """The curves behind the verdict that the page opens with, and the button that makes them."""
    st.header("Backtest on known outcomes")
    opened = open_pool()
    if not (opened.known_quality or opened.known_labels):
        st.info(
            "This pool carries no outcomes: no `quality` on responses and no `labels` on prompts. Nothing can be tested "
            "here, and no result from elsewhere is shown in its place. Labels of earlier batches can be tested on, too: the "
            "manual says how.",
            icon=":material/hourglass_empty:",
        )
        return
    view = current_view()
    folder = place(opened.pool)
    asked = guarded(
        lambda: Options(
            space=view.space_settings(),
            design=testable(view.design_settings(len(opened.pool.prompts))),
            seeds=SEEDS,
        )
    )
    job = latest_job(opened.pool.fingerprint, "backtest")
    running = job is not None and job.state == "running"
    result = stored()
    if result is not None:
        if (result.options.space, result.options.design) != (asked.space, asked.design):
            st.warning("This result is of other settings than the present ones.", icon=":material/history:")
        shown(result)
    elif not running:
        st.info(
            f"Not run on this pool yet. {SEEDS} times, half of the prompts are labelled by each rule, and the policy that the "
            "labels lead to is judged on the other half. It takes a few minutes, in the background.",
            icon=":material/hourglass_empty:",
        )
    if st.button(f"Run {SEEDS} splits with the present settings", key="run_backtest", disabled=running,
                 icon=":material/play_arrow:"):  # fmt: skip
        guarded(
            lambda: start_job(
                "backtest",
                opened.pool.fingerprint,
                {"pool": str(opened.path), "features": str(features_path()), "options": asdict(asked)},
                out=str(folder.absolute()),
                who=reviewer(),
                store=review_store(),
            )
        )
        st.rerun()
    job_panel("backtest", opened.pool.fingerprint, "splits", told=result is not None)


def shown(result: Result) -> None:
    """Curves, differences, tables; the verdict is what the page opens with."""
    if result.explained is not None:
        st.caption(escaped(result.explained.sentence()))
    report = result.report
    if result.without is not None:
        taken = " and ".join(result.options.nuisance)
        kinds = {"as they are": result.report, f"{taken} taken out": result.without}
        report = kinds[
            st.segmented_control("Outcomes", list(kinds), default="as they are", required=True, key="backtest_outcomes")
        ]
    st.caption(
        f"{DECLARED} {report.seeds} splits of {report.prompts:,} prompts; reward in {report.unit}, over the reference's, at "
        f"{report.kl:.2f} nats; {result.seconds:.0f} s."
    )
    names = [curve.rule for curve in report.curves]
    usual: list[str] = [name for name in ("design", "uniform", "farthest_fisher", "paper") if name in names]
    picked = st.multiselect("Rules", names, default=usual, key="backtest_rules", format_func=short)
    chart(reward_curves(report, picked or usual), key="backtest_curves")
    st.caption("Bands: 95 % intervals over prompts and splits. Paired differences, below, are much surer.")
    references = list(dict.fromkeys(d.reference for d in report.differences))
    reference = st.radio("Lead over", references, key="backtest_reference", horizontal=True, format_func=short)
    chart(paired_differences(report, reference), key="backtest_differences")
    with st.expander("Table: reward, label multiple, parameter gap, pair accuracy"):
        st.dataframe(table(report), hide_index=True, width="stretch")
        st.caption(
            "± standard errors over splits. Label multiple: uniform labels that earn the same, per label, with its 95 % "
            "interval. Parameter gap: 1 is what knowing nothing costs. Pair accuracy: of pairs no batch saw."
        )
    if result.misled is not None:
        st.markdown("**Where the reference misleads**")
        st.caption(result.misled.sentence())
        chart(misled_directions(result.misled), key="misled")
        sure = result.misled.certain
        st.caption(
            f"Labels say less than the design assumes where outcomes are near certain: {sure.min():.0%} to "
            f"{sure.max():.0%} less, by direction."
        )
    for note in result.notes:
        st.caption(escaped(note))


def table(report: Report) -> pd.DataFrame:
    """All rules at all budgets."""
    rows = []
    for curve in report.curves:
        for k, n in enumerate(report.budgets):
            worth = curve.multiple[k]
            rows.append(
                {
                    "rule": short(curve.rule),
                    "labels": n,
                    "reward": f"{curve.reward[k].value:+.3f} ± {curve.reward_error[k]:.3f}",
                    "label multiple": f"{worth.value:.1f} ({worth.low:.1f} to {worth.high:.1f})",
                    "parameter gap": f"{curve.gap[k]:.3f} ± {curve.gap_error[k]:.3f}",
                    "pair accuracy": f"{curve.accuracy[k]:.1%} ± {curve.accuracy_error[k]:.1%}",
                }
            )
    return pd.DataFrame(rows)
