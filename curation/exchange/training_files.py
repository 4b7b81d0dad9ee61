"""Training rows as files: the rows, the ties beside them, and a dataset card that says what both are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from curation.errors import ExportError
from curation.exchange.export import check_targets, place_of, write_whole
from curation.exchange.tools.base import Writer, text_writer
from curation.exchange.trl import Preferences

CARD = "README.md"
TIES = ".ties.jsonl"
MARK = "tags: [preference, dpo, trl, pairwright]"  # tells our cards from other people's
COLUMNS = {
    "prompt": "messages before the answers",
    "chosen": "the answer that the majority preferred",
    "rejected": "the other answer",
    "votes_chosen": "people's answers for chosen",
    "votes_rejected": "people's answers for rejected",
    "votes_tie": "people's answers that said tie, or both bad",
    "strength": "mean of -2 to 2 towards chosen over the answers with a strength; null without any",
    "target": "probability that chosen wins: mean over answers of 1, 0.95 (much), 0.7 (slightly), 0.5 (tie), ...",
    "weight": "number of answers",
    "pair_id": "of the pair in its batch",
    "batch_id": "of the batch that asked for it",
    "inclusion": "labels of the pair that the design expected to draw; null where the batch was not drawn",
    "design_weight": "the pair's share in the design",
}
_TOOLS = {"tools": "functions that the assistant was offered; only in rows with any"}
_SETTLED = {
    "settled": "whether people took different sides and the answer was settled: chosen, strength, target and weight "
    "are then of the settled answer alone; only in files with any"
}
_LEFT_OUT = {
    "no label": "pairs without an answer",
    "tie": "pairs that are a tie (half of the answers or more)",
    "split": "pairs whose answers are split evenly",
    "identical": "pairs of identical texts",
}


def write_training(
    made: Preferences,
    out: str | Path,
    *,
    force: bool = False,
    ties: bool = False,
    about: Sequence[str] | None = None,
    batch_id: str = "",
) -> tuple[Path, tuple[Path, ...], str]:
    """Write training rows as JSON Lines, whole or not at all: the file, what lies beside it, its sha256.

    ties: also the rows of pairs without a winner, as `.ties.jsonl`. about: what the labels say, one sentence each; with
    it a dataset card is written as README.md of the folder, which replaces no other README. Raises ExportError.
    """
    path = place_of(out)
    check_targets([path], force)
    files: dict[Path, Writer] = {}
    if ties:
        files[path.with_suffix(TIES)] = _rows_writer(made.ties)
    if about is not None:
        card = place_of(path.with_name(CARD))
        _check_card(card, path)
        files[card] = text_writer(dataset_card(made, path.name, about=about, ties=ties, batch_id=batch_id))
    check_targets([path, *files], force)
    digest = write_whole({**files, path: _rows_writer(made.rows)}, force=force)
    return Path(out), tuple(files), digest


def dataset_card(made: Preferences, name: str, *, about: Sequence[str], ties: bool, batch_id: str) -> str:
    """A card as hubs read it: a YAML header, then columns, counts, what was left out. It names no people."""
    configs = [("default", name), *([("ties", str(Path(name).with_suffix(TIES)))] if ties else [])]
    head = [
        "---",
        f"pretty_name: Preferences of batch {batch_id}",
        "task_categories: [text-generation]",
        MARK,
        f"size_categories: [{_size(len(made.rows))}]",
        "configs:",
    ]
    for config, file in configs:
        head += [f"- config_name: {config}", f"  data_files: {json.dumps(file)}"]
    every = (*made.rows, *made.ties)
    columns = COLUMNS | (_TOOLS if any("tools" in row for row in every) else {})
    columns |= _SETTLED if any("settled" in row for row in every) else {}
    settled = (
        f" On {made.settled:,} of the pairs (ties among them) people took different sides and the answer was "
        "settled afterwards."
        if made.settled
        else ""
    )
    gone = [f"- {count:,} {_LEFT_OUT.get(reason, reason)}" for reason, count in made.left_out.items() if count]
    beside = f" Ties and splits stand in the configuration `ties` ({len(made.ties):,} rows)," if ties else ""
    why = " where `chosen` is either answer and only `target` tells." if ties else ""
    return "\n".join(
        [
            *head,
            "---",
            "",
            f"# Preferences of batch {batch_id}",
            "",
            f"{len(made.rows):,} pairs of answers with a winner by majority, chosen for labelling with Pairwright. "
            "Rows are explicit conversational preferences as TRL's DPOTrainer reads them."
            f"{beside}{why}{settled}",
            "",
            "| column | means |",
            "|---|---|",
            *(f"| `{column}` | {meaning} |" for column, meaning in columns.items()),
            "",
            "The pairs were not drawn evenly: the design asked for those that teach most, so counts over rows are not "
            "those of the pool. `inclusion` says how likely each was asked for.",
            "",
            "## Left out",
            "",
            *(gone or ["- nothing"]),
            "",
            "## Labels",
            "",
            *(f"- {sentence}" for sentence in about),
            "",
            "The licence of the texts is that of the pool they come from; state it here.",
            "",
        ]
    )


def _size(rows: int) -> str:
    """The hub's word for a number of rows."""
    edges = [(10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M")]
    if rows < edges[0][0]:
        return "n<1K"
    for (_, below), (most, above) in pairwise(edges):
        if rows < most:
            return f"{below}<n<{above}"
    return "n>10M"


def _check_card(card: Path, out: Path) -> None:
    """Raises ExportError where somebody's own README stands there."""
    if card == out:
        raise ExportError(f"{out} is where the dataset card goes; give the rows another name.")
    if not card.exists():
        return
    try:
        ours = MARK in card.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise ExportError(
            f"{card} exists and is no dataset card of this command, so it is never replaced; write to another folder, "
            "or leave out --card."
        )


def _rows_writer(rows: Sequence[dict[str, Any]]) -> Writer:
    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    return write
