"""What have I got? Load a pool, see what is usable, what is in it and what is wrong with it."""

import json
from pathlib import Path

import pandas as pd
import streamlit as st

from curation.charts.pool import candidates, counts, lengths
from curation.dashboard.exclusions import exclude_more, excluded_in
from curation.dashboard.places import DEMO, list_pools, save_upload
from curation.dashboard.view import View
from curation.health.finding import Finding
from curation.health.texts import duplicate_pairs, example_texts, text_findings
from curation.pool.checks import PoolReport, pool_report
from curation.pool.pair_lists import named_pair, pair_list_csv
from curation.pool.readers.read import FIELDS, asks_for_columns, column_mapping_choices, read_pool
from curation.pool.reading import keep_reading
from curation.pool.schema import Pool, prompt_text
from curation.settings import workspace
from pages._findings import show_findings
from pages._guard import acting
from pages._known import known_pairs
from pages._shared import OpenPool, change_view, current_view, header, open_pool, open_view, reviewer
from pages._store import guarded, review_store
from pages._widgets import chart, escaped, show_text

PAGE = {"section": "Pool", "rank": 1, "title": "Pool", "icon": ":material/inventory_2:"}

UPLOADS = ["jsonl", "ndjson", "json", "parquet", "csv", "tsv", "xlsx", "gz", "zst", "bz2", "xz", "zip"]
DEMO_TITLE = "Bundled demo pool"


@st.cache_resource(max_entries=8, show_spinner="Looking for duplicates")
def _report(fingerprint: str, _pool: Pool) -> PoolReport:
    return pool_report(_pool)


@st.cache_resource(max_entries=8, show_spinner="Looking for broken answers")
def _findings(fingerprint: str, _pool: Pool, _report: PoolReport) -> list[Finding]:
    return text_findings(_pool, _report)


def choose() -> None:
    """Demo, a file of the allowed folders, or an upload."""
    view = current_view()
    files = {str(path.resolve()): path for path in list_pools()}
    options = [DEMO, *files]
    if view.pool not in options:
        options.append(view.pool)
    left, right = st.columns([1.3, 1])
    chosen = left.selectbox(
        "Pool",
        options,
        options.index(view.pool),
        format_func=lambda key: DEMO_TITLE if key == DEMO else Path(key).name,
        help="Files in the workspace, and in the folders that CURATION_POOLS names.",
        key=f"pool_choice_{view.pool}_{len(options)}",
    )
    if chosen != view.pool:
        open_view(View(pool=chosen))
    file = right.file_uploader(
        "Or upload one (JSON Lines, Parquet, CSV, Excel; .gz, .zst, .bz2, .xz, .zip)", type=UPLOADS, key="pool_upload"
    )
    if file is not None and st.session_state.get("uploaded") != file.file_id:
        path = guarded(lambda: save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store()))
        if guarded(lambda: asks_for_columns(path)):
            map_columns(path, file.file_id)
        else:
            st.session_state["uploaded"] = file.file_id
            open_view(View(pool=str(path)))


def map_columns(path: Path, upload: str) -> None:
    """Which column is what, for a flat table. As guessed, the file itself is opened; else what was read is kept in the
    workspace as a canonical pool, with what could not be read."""
    choices = guarded(lambda: column_mapping_choices(path))
    with st.form("mapping"):
        st.caption(f"Which column of {escaped(path.name)} is what? One row is one response.")
        picked = {}
        columns = st.columns(4)
        for n, field in enumerate(FIELDS):
            options = ["", *choices.columns]
            guess = choices.guess.get(field, "")
            picked[field] = columns[n % 4].selectbox(
                field, options, options.index(guess) if guess in options else 0, format_func=lambda c: c or "(none)"
            )
        if st.form_submit_button("Read with these columns", type="primary"):
            mapping = {field: column for field, column in picked.items() if column}
            if mapping == choices.guess:
                st.session_state["uploaded"] = upload
                open_view(View(pool=str(path)))
            file = guarded(lambda: read_pool(path, format="flat", mapping=mapping))
            target = workspace() / "pools" / f"{path.name}.jsonl.gz"
            guarded(lambda: review_store().require(reviewer(), "reviewer"))
            target.parent.mkdir(parents=True, exist_ok=True)
            guarded(lambda: keep_reading(file, target))
            st.session_state["uploaded"] = upload
            open_view(View(pool=str(target.resolve())))
    st.stop()


def validity(opened: OpenPool) -> None:
    """What was read, what was not, and why."""
    pool = opened.pool
    columns = st.columns(5)
    columns[0].metric("Prompts", f"{len(pool.prompts):,}")
    columns[1].metric("Responses", f"{pool.n_responses:,}")
    columns[2].metric("Candidate pairs", f"{pool.n_pairs:,}")
    columns[3].metric("Rows used", f"{opened.rows_used:,}", help=f"of {opened.rows:,} rows")
    columns[4].metric("Rows rejected", f"{len(opened.rejects):,}")
    st.caption(f"Read as {opened.format}. " + escaped(" ".join(opened.notes)))
    if opened.known_quality or opened.known_labels:
        st.caption(
            f"The file carries {opened.known_quality:,} known scores and {opened.known_labels:,} known comparisons: they are kept "
            "apart for the backtest and never reach the design or the review."
        )
    if opened.rejects:
        st.warning(
            f"{len(opened.rejects)} rows cannot be used; everything below is about the others.",
            icon=":material/warning:",
        )
        table = pd.DataFrame([{"line": r.line, "reason": r.reason, "row": r.raw[:200]} for r in opened.rejects])
        st.dataframe(table.head(200), hide_index=True, width="stretch")
        lines = "".join(json.dumps({"line": r.line, "reason": r.reason, "raw": r.raw}) + "\n" for r in opened.rejects)
        st.download_button("Download the rejects", lines, "rejects.jsonl", icon=":material/download:")


def health(pool: Pool, report: PoolReport) -> None:
    """What would waste labels, each with its remedy, and the pairs that nobody can decide as a file."""
    st.subheader("Would waste labels")
    findings = _findings(pool.fingerprint, pool, report)
    show_findings(
        findings, key="pool", clean="Nothing in the texts would waste labels: no duplicates, no broken answers."
    )
    examples(pool, findings)
    exclusions(pool, report)


def exclusions(pool: Pool, report: PoolReport) -> None:
    """The pairs that need no person, by kind: left out of the design in one act, taken back in one act."""
    kinds = {
        "that nobody can decide": set(duplicate_pairs(report)),
        "whose outcome is known": {named_pair(pool, pair) for pair in known_pairs(pool.fingerprint, pool)},
    }
    kinds = {name: pairs for name, pairs in kinds.items() if pairs}
    name = current_view().exclude
    out = guarded(lambda: excluded_in(pool, name))
    if out:
        st.success(
            f"{len(out):,} of {pool.n_pairs:,} pairs are excluded: no design of this view will ask for a label on them.",
            icon=":material/block:",
        )
    left = {kind: pairs - out for kind, pairs in kinds.items() if pairs - out}
    if left:
        st.markdown(
            " and ".join(f"**{len(pairs):,} pairs {kind}**" for kind, pairs in left.items())
            + " are open to the design."
        )
    with st.container(horizontal=True):
        for kind, pairs in left.items():
            st.button(
                f"Exclude the {len(pairs):,} {kind}",
                key=f"exclude_{'known' if 'known' in kind else 'alike'}",
                on_click=exclude,
                args=(pool, pairs),
                icon=":material/block:",
                help="The design leaves them out from now on; a batch that is made already stays as it is.",
            )
        if out:
            st.button("Take all exclusions back", key="exclude_none", on_click=exclude, args=(pool, None))
        if kinds:
            st.download_button(
                "The list (CSV)",
                pair_list_csv(sorted(set().union(*kinds.values()))),
                "exclude.csv",
                icon=":material/download:",
                type="tertiary",
                help="For another pool page or for the command line.",
            )


@acting
def exclude(pool: Pool, pairs: set[tuple[str, str, str]] | None) -> None:
    """Leave pairs out of this view's designs, beside those that are out; None: leave nothing out any more."""
    if pairs is None:
        change_view(exclude="")
        return
    made = exclude_more(pool, current_view().exclude, pairs, who=reviewer(), store=review_store())
    change_view(exclude=str(made))


def examples(pool: Pool, findings: list[Finding]) -> None:
    """The texts that a finding names, as they are."""
    named = {finding.title: finding for finding in findings if finding.examples}
    if not named:
        return
    with st.expander("Read what a finding names", icon=":material/menu_book:"):
        left, right = st.columns([2, 1])
        title = left.selectbox("Finding", list(named), key=f"example_of_{pool.fingerprint}")
        count = len(named[title].examples)
        number = right.number_input(
            f"Example (1 to {count:,})", 1, count, 1, key=f"example_{pool.fingerprint}_{named[title].key}"
        )
        shown = example_texts(pool, named[title], int(number) - 1)
        for text in shown.prompts:
            st.caption(escaped(text.label))
            show_text(text.excerpt(), height=120)
        for column, text in zip(st.columns(max(len(shown.responses), 1)), shown.responses, strict=False):
            with column:
                st.caption(f"{escaped(text.label)} · {len(text.text):,} characters")
                show_text(text.excerpt(), height=260)


def figures(opened: OpenPool, report: PoolReport) -> None:
    """Candidates, lengths, generators, strata."""
    pool = opened.pool
    names = [r.generator or "(unknown)" for p in pool.prompts for r in p.responses]
    left, right = st.columns(2)
    with left:
        st.subheader("Length")
        chart(lengths(pool.lengths(), names), key="lengths")
        st.caption(
            "Box: the middle half; whiskers to 1.5 box lengths; points beyond. Annotators and models both lean to length."
        )
        if len(report.generators) > 1:
            st.subheader("Generators")
            chart(counts(report.generators, x="Responses"), key="generators")
    with right:
        st.subheader("Candidates")
        chart(candidates(pool.offsets()[1:] - pool.offsets()[:-1]), key="candidates")
        st.caption("A prompt with two candidates offers one pair: the design can only take or leave it.")
        if len(report.strata) > 1:
            st.subheader("Strata")
            chart(counts(report.strata, x="Prompts"), key="strata")


def sample(pool: Pool) -> None:
    """One prompt with its responses, as they are."""
    st.subheader("A look at the texts")
    number = st.number_input(
        f"Prompt (1 to {len(pool.prompts)})", 1, len(pool.prompts), 1, key=f"look_{pool.fingerprint}"
    )
    entry = pool.prompts[int(number) - 1]
    st.caption(
        f"{escaped(entry.prompt_id)} · stratum {escaped(entry.stratum or '(none)')} · {len(entry.responses)} responses"
    )
    show_text(prompt_text(entry.prompt)[:4000])
    columns = st.columns(2)
    for n, response in enumerate(entry.responses[:6]):
        with columns[n % 2]:
            st.caption(f"{escaped(response.generator or 'unknown generator')} · {len(response.text):,} characters")
            show_text(response.text[:4000], height=200)


header("Pool", "What have I got? Prompts with candidate responses: every pair of one prompt could be labelled.")
choose()
opened = open_pool()
report = _report(opened.pool.fingerprint, opened.pool)
validity(opened)
figures(opened, report)
health(opened.pool, report)
sample(opened.pool)
st.page_link("pages/features.py", label="Next: features", icon=":material/arrow_forward:")
