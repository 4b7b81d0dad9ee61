"""Commands of the way out to annotators and back: decide, export, import-labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from curation.cli_options import ExportChoice, ForceOpt, JsonOpt, LabelChoice, OrderChoice
from curation.cli_output import emit

if TYPE_CHECKING:
    from curation.exchange_formats.export import Format


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(decide)
    app.command()(export)
    app.command("import-labels")(import_labels)


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
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Write the approved pairs for annotators, or labelled pairs for TRL; what is left out is counted."""
    from curation.handback import export_trl
    from curation.handover import export_batch

    if to is ExportChoice.trl:
        result = export_trl(folder, out, force=force)
    else:
        result = export_batch(
            folder, to=cast("Format", to.value), out=out, order=order.value, unsigned=unsigned, force=force
        )
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
