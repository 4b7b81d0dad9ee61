"""Commands on a batch: decide, export, import-labels, labels, sign, verify, people, topup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curation.cli.asked import LengthDifferenceOpt
from curation.cli.kinds import EXPORT
from curation.cli.options import (
    TRAINING,
    AnswersChoice,
    ExportChoice,
    FeaturesOpt,
    ForceOpt,
    JsonOpt,
    LabelChoice,
    MapOpt,
    OrderChoice,
)
from curation.cli.output import emit
from curation.cli.writes import Writes
from curation.exchange.tools.base import AUTO


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(decide)
    app.command()(export)
    app.command("import-labels")(import_labels)
    app.command()(labels)
    app.command()(sign)
    app.command()(verify)
    app.command()(people)
    app.command()(topup)


def decide(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    file: Annotated[
        Path, typer.Argument(help="CSV: pair_id, decision (approve, reject, flag); reason, note, version.")
    ],
    who: Annotated[str, typer.Option("--as", help="Who decides.")],
    as_json: JsonOpt = False,
) -> None:
    """Record the decisions of a CSV file in the workspace's store, all or none."""
    from curation.review.register import decide_from_file

    result = decide_from_file(folder, file, who=who)
    lines = [f"{result['recorded']} decisions recorded by {who}: {result['counts']}"]
    if result["kept"]:
        lines.append(
            f"{len(result['kept'])} pairs were decided otherwise meanwhile and keep that; to overrule one, give its "
            "present version in a column `version`:"
        )
        for made in result["kept"]:
            when = f"{made['at']}, version {made['version']}"
            lines.append(f"  {made['pair_id']}: {made['decision']} by {made['who']} at {when}")
    emit(result, as_json, lines)


def export(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    to: Annotated[ExportChoice, typer.Option(help="Format.")],
    out: Annotated[Path, typer.Option(help="File to write."), Writes(EXPORT)],
    order: Annotated[OrderChoice, typer.Option(help="Which response stands on the left.")] = OrderChoice.random,
    answers: Annotated[
        AnswersChoice, typer.Option(help="binary: left, right, tie; graded: also much or slightly better, both bad.")
    ] = AnswersChoice.binary,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Export an unsigned batch, marked as such.")] = False,
    public_key: Annotated[
        str | None, typer.Option(help="The signer's, 64 hex digits; default: this machine's.")
    ] = None,
    who: Annotated[str, typer.Option("--as", help="Who sends it out.")] = "command line",
    annotators: Annotated[
        str,
        typer.Option(
            help="Who labels, as ana,ben=40,cem (=: rows at most): rows are given out, nobody sees a pair twice."
        ),
    ] = "",
    ties: Annotated[bool, typer.Option("--ties", help="trl: also pairs without a winner, to OUT.ties.jsonl.")] = False,
    card: Annotated[bool, typer.Option("--card", help="trl: also a dataset card, README.md beside OUT.")] = False,
    push: Annotated[str, typer.Option(help="trl: also to this data set repository of a hub, OWNER/NAME.")] = "",
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Write the approved pairs for annotators, or labelled pairs for TRL; what is left out is counted."""
    from curation.exchange.assignment import parse_annotators
    from curation.exchange.send import export_batch, export_signed, export_trl

    if to.value == TRAINING:
        if answers is not AnswersChoice.binary:
            raise typer.BadParameter(
                "training rows hold whatever strength the labels have; leave it out", param_hint="--answers"
            )
        if annotators:
            raise typer.BadParameter("training rows go to nobody; leave it out", param_hint="--annotators")
        result = export_trl(folder, out, force=force, who=who, ties=ties, card=card, push_to=push or None)
    else:
        if ties or card or push:
            raise typer.BadParameter("they are of training rows; use --to trl", param_hint="--ties, --card, --push")
        wanted: dict[str, Any] = {
            "to": to.value, "out": out, "order": order.value, "answers": answers.value, "force": force,
            "who": who, "annotators": parse_annotators(annotators) if annotators else (),
        }  # fmt: skip
        result = export_batch(folder, **wanted) if unsigned else export_signed(folder, **wanted, trusted=public_key)
    left = ", ".join(f"{count} {reason}" for reason, count in result["left_out"].items() if count) or "nothing"
    lines = [f"{result['rows']} rows ({result['pairs']} pairs) written to {out}; left out: {left}"]
    lines += [f"  {name}: {rows} rows" for name, rows in result["annotators"].items()]
    lines += [f"beside it: {path}" for path in result["also_written"] if annotators or ties or card]
    lines += [f"pushed: {result['pushed']}"] if result.get("pushed") else []
    emit(result, as_json, [*lines, *(f"note: {note}" for note in result["notes"])])


def import_labels(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    file: Annotated[Path, typer.Argument(help="What the annotation tool exported.")],
    kind: Annotated[LabelChoice, typer.Option("--from", help="Format; auto looks at the file.")] = AUTO,  # type: ignore[assignment]
    annotator: Annotated[str | None, typer.Option(help="Whose the answers are that name nobody.")] = None,
    who: Annotated[str, typer.Option("--as", help="Who imports.")] = "command line",
    as_json: JsonOpt = False,
) -> None:
    """Bring annotators' answers back: decoded by id, counted, kept in the workspace's store; then judge them."""
    from curation.exchange.receive import import_labels as bring_back

    result = bring_back(folder, file, kind=kind.value, annotator=annotator, who=who)
    lines = [
        f"{result['labels']} labels of {result['answers']} answers ({result['format']}): {result['new']} new, "
        f"{result['replaced']} replaced, {result['same']} known; {result['ties']} ties, {result['skips']} skips "
        f"({result['cancelled']} cancelled), {result['duplicates']} duplicates, {result['changed']} changed, "
        f"{result['unknown']} of unknown pairs or responses",
        *(f"  {place}" for place in result["unknown_examples"]),
        *graded_lines(result),
        *result["notes"],
        *result["sentences"],
    ]
    emit(result, as_json, lines)


def graded_lines(result: dict[str, Any]) -> list[str]:
    """What an import says of strength, and the answers that are not clear; nothing where it was not asked for."""
    lines = []
    if result["asked"] == "graded":
        lines.append(
            f"{result['graded']} labels with strength, {result['both_bad']} of them both bad; "
            f"{result['without_strength']} without the strength that was asked for"
        )
        lines += [f"  {place}" for place in result["without_strength_examples"]]
    if result["unclear"]:
        lines.append(f"{result['unclear']} answers contradict themselves or name no side, and were left out")
        lines += [f"  {place}" for place in result["unclear_examples"]]
    return lines


def labels(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Name every pair on which people took different sides, and how settled.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """What the labels of a batch say: agreement, everybody's figures, conflicts; writes nothing."""
    from curation.batch.folder import read_batch
    from curation.exchange.receive import label_report
    from curation.review.settling import dispute_words
    from curation.review.store.read_only import store_to_read

    batch = read_batch(folder)
    with store_to_read() as store:
        report = {"batch_id": batch.batch_id, **label_report(batch, store)}
    if not report["quality"]["answers"]:
        emit(report, as_json, [f"batch {batch.batch_id} has no labels yet; bring them in with `import-labels`"])
        return
    found = report["conflicts"]
    lines = [*report["sentences"], *(annotator_line(one) for one in report["quality"]["by_annotator"])]
    count = f"{len(found)} pairs on which people took different sides, {report['open_conflicts']} of them open"
    lines.append(f"{count}{'' if conflicts or not found else ': --conflicts'}")
    if conflicts:
        lines += [f"  {one['pair_id']}: {dispute_words(one)}" for one in found]
        lines += [f"  {one['pair_id']}, agreed since: {dispute_words(one)}" for one in report["agreed_since"]]
    for rater in report["second_raters"]:
        lines += rater_lines(rater, conflicts)
    emit(report, as_json, lines)


def rater_lines(rater: dict[str, Any], named: bool) -> list[str]:
    """A model beside people; named: also every pair on which it and people differ."""
    found = rater["disagreements"]
    more = "" if named or not found else f" They differ on {len(found)} pairs: --conflicts"
    lines = [f"{rater['sentence']}{more}"]
    for one in found if named else ():
        told = ", ".join(f"{answer['annotator']} {answer['outcome']}" for answer in one["answers"])
        lines.append(f"  {one['pair_id']}: {rater['model']} {one['outcome']}, {told}")
    return lines


def annotator_line(one: dict[str, Any]) -> str:
    """One annotator's figures in a line; what cannot be told is left out."""
    parts = [f"{one['answers']} answers", f"skips {one['skip_rate']:.0%}"]
    parts += [f"ties {one['tie_rate']:.0%}"] if one["tie_rate"] is not None else []
    if one["left_share"] is not None:
        low, high = one["left_interval"]
        parts.append(f"left {one['left_share']:.0%} ({low:.0%} to {high:.0%})")
    parts += [f"with others {one['with_others']:.0%} of {one['compared']}"] if one["compared"] else []
    parts += [f"with herself {one['with_herself']:.0%} of {one['again']}"] if one["again"] else []
    parts += [f"median {one['seconds']:.0f} s"] if one["seconds"] is not None else []
    return f"{one['annotator']}: {', '.join(parts)}"


def sign(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    who: Annotated[str, typer.Option("--as", help="Who signs: not who proposed the batch.")],
    acknowledge: Annotated[
        list[str] | None, typer.Option("--acknowledge", help="Health finding that you have read and take; or all.")
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new key where the one that signed before is missing.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Freeze a batch: every pair decided, a second person, a signature over every file, decision and the audit log.

    Writes report.html beside it: what was signed, for people; the signature covers it.
    """
    from curation.backtest.worth import tested_words
    from curation.batch.folder import REPORT, read_manifest
    from curation.review.signoff import sign_batch

    tested = tested_words(read_manifest(folder))
    result = sign_batch(folder, who=who, acknowledged=acknowledge or (), new_key=new_key, tested=tested)
    lines = [
        f"batch {result['batch_id']} signed by {who} at {result['at']}, key {result['public_key'][:16]}",
        f"report: {folder / REPORT}",
        *(f"signed although: {name.lower()} does not hold" for name in result["warnings"]),
        *result["notes"],
    ]
    emit(result, as_json, lines)


def verify(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    public_key: Annotated[str | None, typer.Option(help="64 hex digits; default: this machine's own key.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Compare a signed batch with what was signed, the log and the files that went out.

    Exit 1 where they differ, and where no key is known that could tell whose signature it is.
    """
    from curation.review.signoff import verify_batch

    verdict = verify_batch(folder, trusted=public_key)
    result = {
        "batch_id": verdict.batch_id,
        "holds": verdict.holds,
        "void": verdict.void,
        "key_known": verdict.key_known,
        "signed_by": verdict.signed_by,
        "at": verdict.at,
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
    }
    emit(result, as_json, [verdict.sentence(), *verdict.problems, *verdict.notes])
    if not (verdict.holds and verdict.key_known):
        raise typer.Exit(1)


def people(
    name: Annotated[str | None, typer.Argument(help="Whom to name; nobody: list.")] = None,
    role: Annotated[
        str | None, typer.Option(help="viewer, reviewer, approver or admin; none takes the role away.")
    ] = None,
    who: Annotated[str, typer.Option("--as", help="Who names them: an administrator.")] = "",
    as_json: JsonOpt = False,
) -> None:
    """Who may do what. Until somebody is named, everybody may do everything; the first one named is an admin."""
    from curation.review.store.names import shown
    from curation.review.store.store import open_store

    store = open_store()
    if name is not None:
        first = not who and not store.people()  # nobody could name them, so they name themselves
        store.set_role(name, role or "viewer", who=name if first else who)
    named = store.people()
    lines = [f"{shown(person)}: {held}" for person, held in named.items()] or ["nobody is named: single-user mode"]
    emit({"people": named}, as_json, lines)


def topup(
    folder: Annotated[Path, typer.Argument(help="Batch folder with rejected pairs.")],
    pool: Annotated[Path, typer.Argument(help="The pool it was made from.")],
    features_file: FeaturesOpt,
    who: Annotated[str, typer.Option("--as", help="Who proposes the new batch.")],
    max_length_difference: LengthDifferenceOpt = None,
    columns: MapOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Fill up a reviewed batch: approved pairs stay with their decisions, rejected ones go, the rest is solved anew."""
    from curation.pool.readers.read import parse_mapping
    from curation.review.store.store import open_store
    from curation.review.topup import top_up
    from curation.run.prepare import load_pool

    made = top_up(
        folder, load_pool(pool, mapping=parse_mapping(columns or ())).pool, features_file, who=who, store=open_store(),
        max_length_difference=max_length_difference,
    )  # fmt: skip
    result = {
        "batch_id": made.batch.batch_id,
        "out": str(made.batch.path),
        "kept": made.kept,
        "new": made.new,
        "carried": made.carried,
    }
    emit(result, as_json, [made.sentence(), f"written to {made.batch.path}"])
