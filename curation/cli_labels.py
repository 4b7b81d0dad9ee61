"""Commands of the way out to annotators and back: decide, export, import-labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from curation.cli_options import ExportChoice, FeaturesOpt, ForceOpt, JsonOpt, LabelChoice, OrderChoice
from curation.cli_output import emit

if TYPE_CHECKING:
    from curation.exchange_formats.export import Format


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(decide)
    app.command()(export)
    app.command("import-labels")(import_labels)
    app.command()(sign)
    app.command()(verify)
    app.command()(people)
    app.command()(topup)


def decide(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    file: Annotated[Path, typer.Argument(help="CSV: pair_id, decision (approve, reject, flag), reason, note.")],
    who: Annotated[str, typer.Option("--as", help="Who decides.")],
    as_json: JsonOpt = False,
) -> None:
    """Record the decisions of a CSV file in the workspace's store, all or none."""
    from curation.handover import decide_from_file

    result = decide_from_file(folder, file, who=who)
    emit(result, as_json, [f"{result['recorded']} decisions recorded by {who}: {result['counts']}"])


def export(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    to: Annotated[ExportChoice, typer.Option(help="Format.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    order: Annotated[OrderChoice, typer.Option(help="Which response stands on the left.")] = OrderChoice.random,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Export an unsigned batch, marked as such.")] = False,
    who: Annotated[str, typer.Option("--as", help="Who sends it out.")] = "command line",
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Write the approved pairs for annotators, or labelled pairs for TRL; what is left out is counted."""
    from curation.handback import export_trl
    from curation.handover import export_batch
    from curation.signoff import export_signed

    if to is ExportChoice.trl:
        result = export_trl(folder, out, force=force)
    else:
        send = export_batch if unsigned else export_signed
        result = send(folder, to=cast("Format", to.value), out=out, order=order.value, force=force, who=who)
    left = ", ".join(f"{count} {reason}" for reason, count in result["left_out"].items() if count) or "nothing"
    emit(result, as_json, [f"{result['rows']} rows ({result['pairs']} pairs) written to {out}; left out: {left}"])


def import_labels(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    file: Annotated[Path, typer.Argument(help="What the annotation tool exported.")],
    kind: Annotated[LabelChoice, typer.Option("--from", help="Format; auto looks at the file.")] = LabelChoice.auto,
    who: Annotated[str, typer.Option("--as", help="Who imports.")] = "command line",
    as_json: JsonOpt = False,
) -> None:
    """Bring annotators' answers back: decoded by id, counted, kept in the workspace's store; then judge them."""
    from curation.handback import import_labels as bring_back

    result = bring_back(folder, file, kind=kind.value, who=who)
    lines = [
        f"{result['labels']} labels of {result['answers']} answers ({result['format']}): {result['new']} new, "
        f"{result['replaced']} replaced, {result['same']} known; {result['ties']} ties, {result['skips']} skips "
        f"({result['cancelled']} cancelled), {result['duplicates']} duplicates, {result['changed']} changed, "
        f"{result['unknown']} of unknown pairs or responses",
        *(f"  {place}" for place in result["unknown_examples"]),
        *result["sentences"],
    ]
    emit(result, as_json, lines)


def sign(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    who: Annotated[str, typer.Option("--as", help="Who signs: not who proposed the batch.")],
    acknowledge: Annotated[
        list[str] | None, typer.Option("--acknowledge", help="Health finding that you have read and take; or all.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Freeze a batch: every pair decided, a second person, a signature over every file, decision and the audit log."""
    from curation.signoff import sign_batch

    result = sign_batch(folder, who=who, acknowledged=acknowledge or ())
    lines = [
        f"batch {result['batch_id']} signed by {who} at {result['at']}, key {result['public_key'][:16]}",
        *(f"signed although: {name.lower()} does not hold" for name in result["warnings"]),
    ]
    emit(result, as_json, lines)


def verify(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    public_key: Annotated[str | None, typer.Option(help="64 hex digits; default: this machine's own key.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Compare a signed batch with what was signed, the log and the files that went out; exit 1 where they differ."""
    from curation.signoff import verify_batch

    verdict = verify_batch(folder, trusted=public_key)
    result = {
        "batch_id": verdict.batch_id,
        "holds": verdict.holds,
        "void": verdict.void,
        "signed_by": verdict.signed_by,
        "at": verdict.at,
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
    }
    state = "is as it was signed" if verdict.holds else "is NOT as it was signed"
    lines = [
        f"batch {verdict.batch_id} {state} by {verdict.signed_by} at {verdict.at}",
        *verdict.problems,
        *verdict.notes,
    ]
    emit(result, as_json, lines)
    if not verdict.holds:
        raise typer.Exit(1)


def people(
    name: Annotated[str | None, typer.Argument(help="Whom to name; nobody: list.")] = None,
    role: Annotated[str | None, typer.Option(help="viewer, reviewer, approver or admin.")] = None,
    who: Annotated[str, typer.Option("--as", help="Who names them: an administrator.")] = "",
    as_json: JsonOpt = False,
) -> None:
    """Who may do what. Until somebody is named, everybody may do everything; the first one named is an admin."""
    from curation.review.store import open_store

    store = open_store()
    if name is not None:
        store.set_role(name, role or "viewer", who=who or name)
    named = store.people()
    lines = [f"{person}: {held}" for person, held in named.items()] or ["nobody is named: single-user mode"]
    emit({"people": named}, as_json, lines)


def topup(
    folder: Annotated[Path, typer.Argument(help="Batch folder with rejected pairs.")],
    pool: Annotated[Path, typer.Argument(help="The pool it was made from.")],
    features_file: FeaturesOpt,
    who: Annotated[str, typer.Option("--as", help="Who proposes the new batch.")],
    as_json: JsonOpt = False,
) -> None:
    """Fill up a reviewed batch: approved pairs stay with their decisions, rejected ones go, the rest is solved anew."""
    from curation.pipeline import load_pool
    from curation.review.store import open_store
    from curation.topup import top_up

    made = top_up(folder, load_pool(pool).pool, features_file, who=who, store=open_store())
    result = {
        "batch_id": made.batch.batch_id,
        "out": str(made.batch.path),
        "kept": made.kept,
        "new": made.new,
        "carried": made.carried,
    }
    emit(result, as_json, [made.sentence(), f"written to {made.batch.path}"])
