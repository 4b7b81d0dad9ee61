"""The sixteen kinds of input: how one is made, and what is done with it. Each ends in success or a CurationError."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from curation.batch.folder import CRITERION, DESIGN, MANIFEST, RECORDS, SELECTED, SIGNATURE, SPACE, read_batch
from curation.batch.information import information_of
from curation.dashboard.places import allowed_path, pool_path
from curation.dashboard.view import view_from_query
from curation.errors import CurationError
from curation.exchange.receive import import_labels, label_report
from curation.exchange.send import export_batch
from curation.insight.length_share import sentence_of_batch
from curation.pool.checks import pool_report
from curation.pool.files.storage import canonical_table
from curation.pool.pair_lists import read_pair_list
from curation.pool.readers.read import column_mapping_choices, read_pool
from curation.representation.features_file import read_features
from curation.representation.space import Space
from curation.review.acts import price_of
from curation.review.findings import batch_warnings
from curation.review.queue import SORTS, Filter, QueueTable, decision_words
from curation.review.register import record_batch
from curation.review.signoff import checklist, read_signature, verify_batch
from curation.review.store.decisions import read_decisions_csv
from curation.review.store.store import open_store
from curation.review.topup import excluded_pairs, settings_of
from curation.run.prepare import prepare
from curation.run.solve import solve
from curation.setting_rules import parse_quotas
from curation.settings import DesignSettings, SpaceSettings
from tests.fuzz.mutate import changed_bytes, changed_json, changed_table, odd_value
from tests.fuzz.world import World

Make = Callable[[World, Random, Path], Path]
Use = Callable[[World, Path], None]


@dataclass(frozen=True)
class Target:
    """make: writes one changed input into a folder and returns its place. use: what a person would do with it."""

    make: Make
    use: Use
    share: int  # of the inputs, as in the table of the first run


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# Pools --------------------------------------------------------------------------------------------------------------


def _text_pool(kind: str) -> Make:
    def make(world: World, rng: Random, folder: Path) -> Path:
        name, data = rng.choice(world.pools[kind])
        if kind != "csv" and rng.random() < 0.7:
            if name.endswith(".json"):
                return _file(folder, name, changed_json(rng, json.loads(data)))
            lines = [json.loads(line) for line in data.splitlines()]
            for _ in range(rng.randint(1, 3)):
                k = rng.randrange(len(lines))
                lines[k] = json.loads(json.dumps(lines[k]))
            k = rng.randrange(len(lines))
            out = [json.dumps(line).encode() for line in lines]
            out[k] = changed_json(rng, lines[k])
            return _file(folder, name, b"\n".join(out) + b"\n")
        return _file(folder, name, changed_bytes(rng, data))

    return make


def _byte_pool(kind: str) -> Make:
    def make(world: World, rng: Random, folder: Path) -> Path:
        name, data = rng.choice(world.pools[kind])
        return _file(folder, name, changed_bytes(rng, data))

    return make


def _table_pool(kind: str) -> Make:
    def make(world: World, rng: Random, folder: Path) -> Path:
        name, data = rng.choice(world.pools[kind])
        if rng.random() < 0.6:
            return _file(folder, name, changed_bytes(rng, data))
        table = changed_table(rng, canonical_table(world.pool))
        out = io.BytesIO()
        if kind == "parquet":
            pq.write_table(table, out)
        else:
            with pa.ipc.new_stream(out, table.schema) as writer:
                writer.write_table(table)
        return _file(folder, name, out.getvalue())

    return make


def use_pool(world: World, path: Path) -> None:
    """Read it, describe it, and ask what its columns are."""
    with suppress(CurationError):  # the page offers no mapping then; whether the file is a pool is asked next
        column_mapping_choices(path)
    file = read_pool(path)
    assert file.rows == file.rows_used + len(file.rejects)
    assert file.pool.fingerprint
    pool_report(file.pool)


# Features and lists -------------------------------------------------------------------------------------------------


def make_features(world: World, rng: Random, folder: Path) -> Path:
    data = world.features.read_bytes()
    if rng.random() < 0.6:
        return _file(folder, "f.parquet", changed_bytes(rng, data))
    pq.write_table(changed_table(rng, pq.read_table(world.features)), folder / "f.parquet")
    return folder / "f.parquet"


def use_features(world: World, path: Path) -> None:
    """Read and prepare them."""
    table = read_features(path, world.pool.ids(), pool_fingerprint=world.pool.fingerprint)
    prepare(world.pool, table, space=SpaceSettings(dim=4), device="cpu")


def make_decisions(world: World, rng: Random, folder: Path) -> Path:
    words = ("approve", "reject", "flag")
    pairs = [record["pair_id"] for record in read_batch(world.batch).records]
    lines = [f"{key},{words[k % 3]},because,{'x' * (k % 3)}" for k, key in enumerate(pairs)]
    data = "\n".join(["pair_id,decision,reason,note", *lines]) + "\n"
    return _file(folder, "d.csv", changed_bytes(rng, data.encode()))


def use_decisions(world: World, path: Path) -> None:
    """Read them for the batch."""
    read_decisions_csv(path, {record["pair_id"] for record in read_batch(world.batch).records})


def make_pins(world: World, rng: Random, folder: Path) -> Path:
    data = "prompt_id,response_a_id,response_b_id\n" + "".join(f"p{x},r0,r1\n" for x in range(5))
    if rng.random() < 0.3:
        data = "pair_id\n" + "".join(record["pair_id"] + "\n" for record in read_batch(world.batch).records)
    return _file(folder, "pins.csv", changed_bytes(rng, data.encode()))


def use_pins(world: World, path: Path) -> None:
    """Read them for the pool."""
    read_pair_list(path, world.pool)


# The batch folder ---------------------------------------------------------------------------------------------------


def _folder(world: World, folder: Path) -> Path:
    shutil.copytree(world.batch, folder / "batch")
    return folder / "batch"


def make_labels(world: World, rng: Random, folder: Path) -> Path:
    name, data = rng.choice(world.answers)
    if name.endswith(".json") and rng.random() < 0.8:
        return _file(folder, name, changed_json(rng, json.loads(data), 6))
    if name.endswith(".jsonl") and rng.random() < 0.5:
        lines = data.splitlines()
        k = rng.randrange(len(lines))
        lines[k] = changed_json(rng, json.loads(lines[k]))
        return _file(folder, name, b"\n".join(lines))
    return _file(folder, name, changed_bytes(rng, data))


def use_labels(world: World, path: Path) -> None:
    """Import them."""
    store = _store(world, path.parent)
    try:
        import_labels(world.batch, path, who="cat", store=store)
    finally:
        store.close()


def _store(world: World, folder: Path) -> Any:
    database = folder / "review.db"
    shutil.copy(world.database, database)
    return open_store(f"sqlite:///{database}")


def make_signature(world: World, rng: Random, folder: Path) -> Path:
    batch = _folder(world, folder)
    data = (batch / SIGNATURE).read_bytes()
    text = changed_json(rng, json.loads(data)) if rng.random() < 0.7 else changed_bytes(rng, data)
    (batch / SIGNATURE).write_bytes(text)
    return batch


def use_signature(world: World, path: Path) -> None:
    """Verify it: what is changed in meaning is found."""
    store = _store(world, path.parent)
    try:
        verdict = verify_batch(path, store=store)
        same = read_signature(path) == read_signature(world.batch)
        assert same or not verdict.holds, "a changed signature holds"
    finally:
        store.close()


def make_manifest(world: World, rng: Random, folder: Path) -> Path:
    batch = _folder(world, folder)
    data = (batch / MANIFEST).read_bytes()
    text = changed_json(rng, json.loads(data)) if rng.random() < 0.85 else changed_bytes(rng, data)
    (batch / MANIFEST).write_bytes(text)
    return batch


def make_records(world: World, rng: Random, folder: Path) -> Path:
    batch = _folder(world, folder)
    lines = (batch / RECORDS).read_bytes().splitlines()
    k = rng.randrange(len(lines))
    if rng.random() < 0.85:
        lines[k] = changed_json(rng, json.loads(lines[k]))
        (batch / RECORDS).write_bytes(b"\n".join(lines) + b"\n")
    else:
        (batch / RECORDS).write_bytes(changed_bytes(rng, b"\n".join(lines) + b"\n"))
    return batch


def make_binary(world: World, rng: Random, folder: Path) -> Path:
    batch = _folder(world, folder)
    name = rng.choice([SPACE, CRITERION, SELECTED, DESIGN])
    file = batch / name
    if rng.random() < 0.5:
        file.write_bytes(changed_bytes(rng, file.read_bytes()))
    elif name.endswith(".parquet"):
        pq.write_table(changed_table(rng, pq.read_table(file)), file)
    else:
        with np.load(file) as stored:
            arrays = {key: stored[key] for key in stored}
        key = rng.choice(sorted(arrays))
        arrays[key] = rng.choice(
            [
                np.zeros(0), np.zeros((3, 3)), np.zeros((2, 2, 2)), np.array("x"), np.array("{}"), np.array(["a"]),
                np.array(1.0), arrays[key].T if arrays[key].ndim else arrays[key], -np.ones((5, 5)), np.array([1 + 2j]),
                np.full((5, 5), np.nan), np.zeros(5, dtype=bool), np.array("[" * 5000), np.array(b"x"),
                np.zeros(3, dtype=[("a", "i4")]), np.array(["2020-01-01"], dtype="datetime64[D]"),
            ]
        )  # fmt: skip
        if rng.random() < 0.2:
            del arrays[key]
        np.savez(file, **arrays)
    return batch


def use_batch(world: World, path: Path) -> None:
    """Everything the pages and commands do with a batch folder, sentences apart."""
    batch = read_batch(path)
    store = _store(world, path.parent)
    pair_ids = [record["pair_id"] for record in batch.records]
    try:
        record_batch(store, batch, who="cat")
        decisions = store.decisions(batch.batch_id)
        words = decision_words(decisions, batch.records)
        table = QueueTable(batch.records)
        for sort in SORTS:
            table.select(words, Filter(words="answer", sort=sort))
        sentence_of_batch(batch.manifest, batch.records)
        batch_warnings(batch, pair_ids)
        settings_of(batch.manifest)
        excluded_pairs(batch)
        for act in (
            lambda: information_of(batch, dict.fromkeys(pair_ids, 1)),
            lambda: price_of(batch, decisions, pair_ids[:2], "reject"),
            lambda: checklist(batch, store),
            lambda: label_report(batch, store),
            lambda: Space.load(path / SPACE).transform(
                read_features(world.features, world.pool.ids()).matrix, world.pool.offsets(), world.pool.lengths()
            ),
            lambda: export_batch(path, to="csv", out=path.parent / "out.csv", store=store, who="cat"),
            lambda: verify_batch(path, store=store),
        ):
            try:
                act()
            except CurationError as error:
                check_sentence(error)
    finally:
        store.close()


# Settings -----------------------------------------------------------------------------------------------------------


def make_quotas(world: World, rng: Random, folder: Path) -> Path:
    parts = [
        f"{rng.choice(['a', 'b', 'c', '', '=', '(none)', 'a=b'])}{rng.choice(['=', '', '=='])}"
        f"{rng.choice(['0', '1', '-1', '3', '', 'inf', 'nan', '1e308', '1e400', '0.5', '9' * 400, 'x'])}"
        f"{rng.choice(['..', '...', '.', ''])}{rng.choice(['', '5', '2', '-2', 'inf', 'nan', '1e-320', '٣'])}"
        for _ in range(rng.randint(1, 3))
    ]
    text = ";".join(parts)
    return _file(folder, "quotas.txt", text.encode() if rng.random() < 0.7 else changed_bytes(rng, text.encode()))


def use_quotas(world: World, path: Path) -> None:
    """Solve with them where they can be read."""
    quotas = parse_quotas(path.read_bytes().decode("utf-8", "replace"))
    solve(world.prepared, DesignSettings(budget=8, quotas=quotas), with_baselines=False)


FIELDS = (
    "pool features budget ridge ridge_kind prior_power dim normalize pca length fisher temperature per_token spread max_labels "
    "per_prompt quotas generator_share max_length_difference cost overlap select seed pins exclude nosuch"
).split()
VALUES = [
    *"0 1 -1 2 3 0.1 0.5 0.9 5 8 20 1e308 -1e308 1e-320 inf -inf nan 1e400 x auto free capped balanced exact paper sample".split(),
    *"relative absolute raw within uniform empirical reference characters minutes demo ~ ~nosuchuser/x /etc/passwd ../x".split(),
    *(
        "pool.jsonl",
        "a=1..5",
        "",
        " ",
        "\x00",
        "\u202e",
        "9" * 40,
        "9" * 400,
        "9" * 5000,
        "x" * 5000,
        "\ud800",
        "1_0",
        "٣",
    ),
    *("a\nb", "true"),
]


def make_query(world: World, rng: Random, folder: Path) -> Path:
    query = {rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.randint(1, 4))}
    if rng.random() < 0.1:
        query[rng.choice(FIELDS)] = str(odd_value(rng))[:10_000]
    return _file(folder, "query.json", json.dumps(query).encode())


def use_query(world: World, path: Path) -> None:
    """Open the view it asks for and solve it, each file it names for itself."""
    view = view_from_query(json.loads(path.read_text()))
    assert view_from_query(view.to_query()) == view
    for name, opened in ((view.pool, pool_path), (view.features, allowed_path)):
        try:
            if name:
                opened(name)
        except CurationError as error:
            check_sentence(error)
    for name in (view.pins, view.exclude):
        if name:
            read_pair_list(allowed_path(name), world.pool)
    assert math.isfinite(view.ridge)
    prepared = prepare(
        world.pool, world.features, space=view.space_settings(), fisher=view.fisher,
        temperature=view.temperature, per_token=view.per_token, device="cpu",
    )  # fmt: skip
    solve(prepared, view.design_settings(len(world.pool.prompts)), overlap=view.overlap, with_baselines=False)


def check_sentence(error: CurationError) -> None:
    """What is told must be something, and no page long."""
    assert 10 < len(str(error)) < 5000, f"no sentence: {str(error)[:200]!r}"


TARGETS: dict[str, Target] = {
    "jsonl": Target(_text_pool("jsonl"), use_pool, 400),
    "csv": Target(_text_pool("csv"), use_pool, 300),
    "json": Target(_text_pool("json"), use_pool, 550),
    "parquet": Target(_table_pool("parquet"), use_pool, 500),
    "packed": Target(_byte_pool("packed"), use_pool, 150),
    "arrow": Target(_table_pool("arrow"), use_pool, 120),
    "features": Target(make_features, use_features, 500),
    "decisions": Target(make_decisions, use_decisions, 150),
    "pins": Target(make_pins, use_pins, 150),
    "labels": Target(make_labels, use_labels, 300),
    "signature": Target(make_signature, use_signature, 200),
    "manifest": Target(make_manifest, use_batch, 200),
    "records": Target(make_records, use_batch, 200),
    "binary": Target(make_binary, use_batch, 150),
    "quotas": Target(make_quotas, use_quotas, 120),
    "query": Target(make_query, use_query, 200),
}
