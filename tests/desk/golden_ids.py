"""Batches of every setting, and what of them may be held: ids made of settings exactly, drawn pairs where they are sure.

A batch's id is a digest of pool, features, settings and drawn pairs. What settings give is held whatever the machine
(`settings_id`, with a stated pair in place of the drawn ones). Drawn pairs, and with them the whole id, are held only
where they stay when every feature moves by a millionth of itself, which `python tests/golden.py --write` tries.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests.desk.golden_runs import (
    DEMO,
    answered,
    call,
    decided,
    read,
    shaken,
    workspace,
    write_csv,
    write_features,
    write_pool,
)

# The settings that batches up to 0.3.0 have. One that comes later enters no id while it is at its default.
SETTINGS = (
    "budget ridge ridge_kind prior_power fisher temperature per_token spread max_labels_per_pair per_prompt quotas "
    "generator_share max_length_difference cost solver tol select seed device"
).split()
SPACE = "dim normalize pca length".split()
OMITTED = {
    "temperature": 1.0,
    "per_token": True,
    "max_length_difference": None,
    "prior_power": 0.0,
    "criterion": "trace",
}
STATED = [["0123456789abcdef", 1]]

EMPIRICAL = ("--fisher", "empirical")
CASES: dict[str, tuple[object, ...]] = {
    "defaults": (),
    "budget 20": ("--budget", 20),
    "ridge": ("--ridge", 3),
    "ridge of many digits": ("--ridge", "0.1234567890123"),
    "absolute ridge": ("--ridge-kind", "absolute", "--ridge", "0.01"),
    "prior power 0": ("--prior-power", 0),
    "prior power 1": ("--prior-power", 1),
    "dim": ("--dim", 4),
    "no normalize": ("--no-normalize",),
    "raw pca": ("--pca", "raw"),
    "no length": ("--no-length",),
    "reference Fisher": ("--fisher", "reference"),
    "empirical Fisher": EMPIRICAL,
    "uniform Fisher": ("--fisher", "uniform"),
    "temperature": (*EMPIRICAL, "--temperature", 2),
    "not per token": (*EMPIRICAL, "--no-per-token"),
    "auto spread": ("--spread", "auto"),
    "balanced spread": ("--spread", "balanced"),
    "free spread": ("--spread", "free"),
    "two labels a pair": ("--max-labels-per-pair", 2),
    "any labels a pair": ("--max-labels-per-pair", "inf", "--spread", "free"),
    "per prompt": ("--per-prompt", 2),
    "quotas": ("--quota", "a=3..5", "--quota", "b=..9"),
    "generator share": ("--generator-share", "0.6"),
    "length difference": ("--max-length-difference", "0.6"),
    "cost by a column": ("--cost", "minutes", "--budget", "20.5"),
    "cost by characters": ("--cost", "characters", "--budget", 1),
    "overlap": ("--overlap", "0.25"),
    "exact": ("--select", "exact"),
    "as the paper draws": ("--select", "paper"),
    "exact, two labels, overlap": ("--select", "exact", "--max-labels-per-pair", 2, "--overlap", "0.25"),
    "seed": ("--seed", 7),
    "Frank-Wolfe": ("--solver", "frank-wolfe", "--tol", "0.05"),
    "tolerance": ("--tol", "0.01"),
    "preset hgm": ("--preset", "hgm"),
    "preset 0.2.0": ("--preset", "0.2.0"),
    "preset and an own ridge": ("--preset", "0.2.0", "--ridge", 2),
    "pilot": ("--pilot", 6),
    "pins": ("--pin", "PINS"),
    "exclusions": ("--exclude", "GONE"),
    "device": ("--device", "cpu"),
    "author and guidelines": ("--as", "ana", "--guidelines", "WORDS"),
}
ON_DEMO: dict[str, tuple[object, ...]] = {
    "demo": (),
    "demo, hgm": ("--preset", "hgm"),
    "demo, 0.2.0": ("--preset", "0.2.0"),
}
NO_ID = ("device", "author and guidelines")  # change no id, by intent
AFTER = ("previous, not learnt from", "previous", "filled up")


def digest(manifest: dict[str, Any], copies: list[list[Any]]) -> str:
    """The id of a batch by what its manifest says and its drawn pairs, written down here a second time."""
    settings = {name: manifest["settings"][name] for name in SETTINGS}
    settings |= {"device": None, "max_labels_per_pair": float(settings["max_labels_per_pair"])}
    settings["quotas"] = [
        [name, *(math.inf if end == "inf" else end for end in ends)] for name, *ends in settings["quotas"]
    ]
    content: list[Any] = [
        manifest["pool"]["fingerprint"],
        manifest["features"]["fingerprint"],
        {name: manifest["space"][name] for name in SPACE},
        {name: value for name, value in settings.items() if name not in OMITTED or value != OMITTED[name]},
        manifest["overlap_labels"],
        manifest["pinned"],
        manifest["excluded"],
        copies,
    ]
    if manifest.get("previous"):
        content.append([manifest["previous"]["batches"], manifest["previous"]["labels"]])
    if manifest.get("learnt"):
        content.append(_taught(manifest["learnt"]["next"]))
    if manifest.get("pilot"):
        content.append(["pilot", manifest["pilot"]["of"]])
    if manifest.get("pinned_labels") is not None:
        content.append(["held", manifest["pinned_labels"]])
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _taught(made: dict[str, Any]) -> list[Any]:
    names = ("changes", "prior", "fisher", "kappa", "factors", "length_out")
    return ["learnt", *(round(made[name], 9) if name == "kappa" else made[name] for name in names)]


def batches(folder: Path, pool: Path, features: Path) -> Iterator[tuple[str, Path]]:
    """(name, batch folder) of every case on the small pool; earlier labels and a fill-up come last."""
    base = ("solve", pool, "--features", features, "--budget", 12, "--dim", 6)
    pins = [_names("p1", "r0", "r1"), _names("p4", "r2", "r3")]
    gone = [_names("p0"), _names("p2", "r1")]
    files = {"PINS": write_csv(folder / "pins.csv", pins), "GONE": write_csv(folder / "gone.csv", gone)}
    files["WORDS"] = folder / "words.md"
    files["WORDS"].write_text("Prefer what is true.", encoding="utf-8")
    (folder / "batches").mkdir()
    for name, given in CASES.items():
        out = folder / "batches" / name
        call(*base, *(files.get(str(part), part) for part in given), "--out", out)
        yield name, out
    first = folder / "batches" / "defaults"
    decided(first, folder / "decisions.csv", reject=1)
    call("export", first, "--to", "csv", "--out", folder / "tasks.csv", "--unsigned", "--as", "ana")
    call("import-labels", first, answered(folder / "tasks.csv", folder / "answers.csv"), "--as", "ana")
    for name, given in {"previous, not learnt from": ("--no-learn",), "previous": ()}.items():
        call(*base, "--previous", first, *given, "--out", folder / "batches" / name)
        yield name, folder / "batches" / name
    filled = call("topup", first, pool, "--features", features, "--as", "ana")
    yield "filled up", Path(filled["out"])


def _names(prompt: str, first: str = "", second: str = "") -> dict[str, str]:
    return {"prompt_id": prompt, "response_a_id": first, "response_b_id": second}


def demo_batches(folder: Path, features: Path) -> Iterator[tuple[str, Path]]:
    """(name, batch folder) of the bundled demo."""
    folder.mkdir()
    for name, given in ON_DEMO.items():
        call("solve", DEMO, "--features", features, "--budget", 30, *given, "--out", folder / name)
        yield name, folder / name


def drawn(batch: Path) -> list[list[Any]]:
    """Pair and number of labels, as an id takes them."""
    return [[record["pair_id"], record["copies"]] for record in read(batch)[1]]


def unsure(batch: Path) -> list[Any]:
    """What of a batch depends on floating point: drawn pairs, and what was learnt."""
    learnt = read(batch)[0].get("learnt")
    return [drawn(batch), _taught(learnt["next"]) if learnt else None]


def told(batch: Path) -> dict[str, Any]:
    """Everything of a batch that is held, drawn pairs included."""
    manifest, records = read(batch)
    return {
        "settings_id": digest({**manifest, "learnt": None}, STATED),
        "batch_id": manifest["batch_id"],
        "first_pairs": [record["pair_id"] for record in records[:3]],
        "manifest": keys_of(manifest),
    }


def keys_of(value: dict[str, Any]) -> list[str]:
    """Keys of an object and, after a dot, of the objects in it."""
    return sorted(name for key, inner in value.items() for name in (key, *(f"{key}.{part}" for part in _inner(inner))))


def _inner(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def format_of(batch: Path) -> dict[str, list[str]]:
    """What a batch folder is: its files, and the keys or columns of each."""
    found: dict[str, list[str]] = {}
    for path in sorted(batch.iterdir()):
        if path.suffix == ".jsonl":
            found[path.name] = sorted({key for line in path.read_text().splitlines() for key in json.loads(line)})
        elif path.suffix == ".parquet":
            found[path.name] = [f"{field.name}: {field.type}" for field in pq.read_schema(path)]
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                found[path.name] = [
                    f"{key}: {arrays[key].dtype.kind}, {arrays[key].ndim} axes" for key in sorted(arrays.files)
                ]
        else:
            found[path.name] = []
    return found


# Sums that overlap are drawn by a walk whose steps follow the processor's linear algebra: seen with AVX-512 and without.
OF_THE_PROCESSOR = ("generator share", "length difference")


def golden(folder: Path, *, sure: bool) -> dict[str, Any]:
    """Every case's ids. sure: solve thrice, on shaken features too, and leave out what they move."""
    pool, features, of_demo = write_pool(folder), write_features(folder), DEMO.with_name("demo.features.parquet")
    made = {**dict(batches(folder, pool, features)), **dict(demo_batches(folder / "demo", of_demo))}
    found = {name: told(batch) for name, batch in made.items()}
    for seed in (1, 2) if sure else ():
        inner = folder / f"shaken {seed}"
        with workspace(inner):
            again = dict(batches(inner, pool, shaken(features, inner / "f.parquet", seed)))
            again |= dict(demo_batches(inner / "demo", shaken(of_demo, inner / "demo.parquet", seed)))
        for name in [name for name in made if unsure(made[name]) != unsure(again[name])]:
            found[name]["batch_id"] = found[name]["first_pairs"] = None
    for name in OF_THE_PROCESSOR if sure else ():
        found[name]["batch_id"] = found[name]["first_pairs"] = None
    if found["defaults"]["batch_id"] is None:  # what goes on from it names its pairs or its id
        for name in AFTER:
            found[name] |= {"settings_id": None, "batch_id": None, "first_pairs": None}
    usual = found["defaults"]["manifest"]
    for name, one in found.items():
        if name != "defaults":
            one["manifest"] = sorted(set(one["manifest"]) ^ set(usual))
    return {"batches": found, "folder": format_of(made["author and guidelines"])}
