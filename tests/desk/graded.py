"""Graded answers in the shapes of the annotation tools."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from curation.batch.folder import read_batch
from curation.exchange.send import export_batch
from curation.exchange.tools.argilla import settings as argilla_settings
from curation.review.store.store import Store
from tests.desk.labels import write

BAD = "bad"


def truth(pair_id: str) -> int | str:
    """What everybody thinks of a pair: -2 to 2 (positive: a is better), or that both are bad."""
    return (-2, -1, 0, 1, 2, BAD)[int(pair_id, 16) % 6]


def seen(batch: Any, data: dict[str, Any]) -> str:
    """The graded answer of an annotator who knows the truth and sees left and right."""
    from curation.batch.presentation import decode_side

    value = truth(data["pair_id"])
    if value == BAD:
        return "both_bad"
    if value == 0:
        return "tie"
    record = next(r for r in batch.records if r["pair_id"] == data["pair_id"])
    left = decode_side(data["left_id"], record, batch.manifest["batch_seed"])
    assert isinstance(value, int)
    better = "a" if value > 0 else "b"
    return f"{'left' if better == left else 'right'}_{'much' if abs(value) == 2 else 'slightly'}"


def parts(answer: str) -> tuple[str, str]:
    """The side and the step of a graded answer, as a control of each gives them."""
    if answer in ("tie", "both_bad"):
        return "", answer
    return tuple(answer.split("_"))  # type: ignore[return-value]


def sent(made: dict[str, Any], store: Store, folder: Path, to: str) -> Path:
    out = folder / f"tasks.{'json' if to in ('label-studio', 'argilla') else to}"
    export_batch(made["batch"], to=to, out=out, order="both", answers="graded", force=True, store=store)  # type: ignore[arg-type]
    return out


def answered(made: dict[str, Any], store: Store, folder: Path, shape: str) -> Path:
    """A file as the tool gives it back after one annotator answered everything."""
    batch = read_batch(made["batch"])
    if shape.startswith(("studio", "flat")):
        tasks = json.loads(sent(made, store, folder, "label-studio").read_text())
        items = []
        for n, task in enumerate(tasks):
            answer = seen(batch, task["data"])
            chosen, step = parts(answer)
            if shape == "flat choices":
                items.append({**task["data"], "preference": answer, "annotator": "u1"})
                continue
            if shape == "flat pairwise":
                regions = {"preference": [{"selected": chosen}]} if chosen else {}  # as JSON_MIN gives them
                items.append({**task["data"], "strength": step, **regions})
                continue
            if shape == "studio choices":
                result = [{"type": "choices", "from_name": "preference", "value": {"choices": [answer]}}]
            else:
                rating = {"type": "rating", "value": {"rating": {"much": 3, "slightly": 1}.get(step)}}
                worded = {"type": "choices", "value": {"choices": [step]}}
                rated = shape.endswith("rating") and chosen
                result = [{"from_name": "strength", **(rating if rated else worded)}]  # its order is the annotator's
                if chosen:
                    result.append({"type": "pairwise", "from_name": "preference", "value": {"selected": chosen}})
            annotation = {"completed_by": 7, "result": result, "was_cancelled": False, "lead_time": 9 + n}
            items.append({**task, "annotations": [annotation]})
        return write(folder / "back.json", items)
    if shape.startswith("argilla"):
        records = json.loads(sent(made, store, folder, "argilla").read_text())
        values = {option["value"] for option in argilla_settings("graded")["questions"][0]["settings"]["options"]}
        for record in records:
            value = seen(batch, record["metadata"]).replace("left", "a").replace("right", "b")
            assert value in values
            api = {"values": {"preference": {"value": value}}, "status": "submitted", "user_id": "u1"}
            record["responses"] = (
                [api] if shape.endswith("api") else {"preference": [{"value": value, "user_id": "u1"}]}
            )
        return write(folder / "back.json", records)
    kind = shape.split()[0]
    out = sent(made, store, folder, kind)
    if kind == "csv":
        with out.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    for n, row in enumerate(rows):
        answer = seen(batch, row)
        chosen, step = parts(answer)
        size = {"much": 2, "slightly": 1}.get(step, 0)
        if shape in ("csv", "jsonl") or (shape == "jsonl mixed" and n % 2) or answer == "both_bad":
            row["preference"] = answer
        elif shape == "csv regions":  # as Label Studio's CSV gives a Pairwise and a Rating
            row["preference"] = json.dumps([{"selected": chosen}]) if chosen else "tie"
            row["strength"] = json.dumps([{"rating": size}])
        elif shape == "csv signed":
            row |= {"preference": chosen or "tie", "strength": str(size if chosen == "right" else -size)}
        else:
            row |= {"preference": chosen or "tie", "strength": {2: 3}.get(size, size)}
    back = folder / f"back.{kind}"
    with back.open("w", newline="") as handle:
        if kind == "csv":
            writer = csv.DictWriter(handle, [*rows[0], *([] if "strength" in rows[0] else ["strength"])])
            writer.writeheader()
            writer.writerows(rows)
        else:
            handle.writelines(json.dumps(row) + "\n" for row in rows)
    return back


def table(made: dict[str, Any], store: Store, folder: Path, change: Any) -> Path:
    """A CSV of binary-looking rows of a graded export, all left and slightly, after `change(n, row)`."""
    with sent(made, store, folder, "csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for n, row in enumerate(rows):
        row |= {"preference": "left", "strength": "slightly", "annotator": "eve"}
        change(n, row)
    with (folder / "back.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "back.csv"
