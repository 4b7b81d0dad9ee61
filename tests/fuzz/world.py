"""What is changed: a small pool in every format, its features, a signed batch with its store, answers that came back."""

from __future__ import annotations

import gzip
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import zstandard

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.exchange.send import export_batch
from curation.pool.files.storage import canonical_table
from curation.pool.schema import Pool
from curation.representation.features_file import write_features
from curation.review.register import record_batch
from curation.review.signoff import sign_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.results import Prepared
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings

BUDGET = 8


@dataclass(frozen=True)
class World:
    """Everything inputs are made from. texts: target -> its sound inputs (name, bytes)."""

    home: Path
    pool: Pool
    pool_file: Path
    features: Path
    prepared: Prepared
    batch: Path
    database: Path
    answers: list[tuple[str, bytes]]
    pools: dict[str, list[tuple[str, bytes]]]


def rows(prompts: int = 12) -> list[dict[str, Any]]:
    """A pool in the canonical format, with everything a row may hold."""
    rng = np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    for x in range(prompts):
        answers = [
            {
                "response_id": f"r{k}", "text": f"answer {x}.{k} " + "word " * int(rng.integers(1, 30)),
                "generator": "uvw"[k % 3], "reference_logprob": -float(rng.integers(20, 60)) / 10,
                "quality": float(rng.normal()), "meta": {"minutes": float(rng.integers(1, 4))},
            }
            for k in range(3 + x % 2)
        ]  # fmt: skip
        prompt: Any = f"question {x}" if x % 3 else [{"role": "user", "content": f"question {x}"}]
        row = {"prompt_id": f"p{x}", "prompt": prompt, "responses": answers, "stratum": "ab"[x % 2], "meta": {"n": x}}
        if x == 3:
            row |= {"pairs": [["r0", "r1"], ["r1", "r2"]], "labels": [["r0", "r1", 0.5]], "prompt_weight": 2.0}
        made.append(row)
    return made


def make(folder: Path) -> World:
    """Build it in a folder; the workspace is `folder/home`, the signing key beside it."""
    home = folder / "home"
    home.mkdir(parents=True)
    os.environ |= {
        "CURATION_HOME": str(home), "CURATION_SIGNING_KEY": str(folder / "key.pem"), "CURATION_SELF_SIGN": "1",
        "CURATION_POOLS": str(home),
    }  # fmt: skip
    os.environ.pop("DATABASE_URL", None)
    pool_file = home / "pool.jsonl"
    pool_file.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    pool = load_pool(pool_file).pool
    features = home / "pool.features.parquet"
    rng = np.random.default_rng(1)
    write_features(
        features, pool.ids(), rng.standard_normal((pool.n_responses, 6)), reference_logprob=pool.reference_logprobs(),
        n_tokens=np.full(pool.n_responses, 9, dtype=np.int32), metadata={"model": "m", "pool_fingerprint": pool.fingerprint},
    )  # fmt: skip
    prepared = prepare(pool, features, space=SpaceSettings(dim=4), device="cpu")
    solved = solve(prepared, DesignSettings(budget=BUDGET, quotas=(("a", 0, 8),)), with_baselines=False)
    batch = save_batch(solved, folder / "batch")
    database = folder / "review.db"
    store = open_store(f"sqlite:///{database}")
    read = read_batch(batch)
    record_batch(store, read, who="ana")
    store.decide_many(read.batch_id, [record["pair_id"] for record in read.records], "approve", who="ana")
    answers = _answers(batch, folder, store)
    sign_batch(batch, who="cat", acknowledged=["all"], store=store)
    store.close()
    return World(home, pool, pool_file, features, prepared, batch, database, answers, _pools(pool))


def _answers(batch: Path, folder: Path, store: Any) -> list[tuple[str, bytes]]:
    def sent(to: str, suffix: str, answers: str = "binary") -> bytes:
        out = folder / f"{to}.{answers}.{suffix}"
        export_batch(batch, to=to, out=out, store=store, answers=answers)  # type: ignore[arg-type]
        return out.read_bytes()

    tasks = json.loads(sent("label-studio", "json"))
    studio = [
        {
            "id": n, "data": task["data"],
            "annotations": [
                {
                    "completed_by": {"id": 1, "email": "e@x"} if n % 2 else 7, "lead_time": 3.5, "was_cancelled": n == 3,
                    "result": [
                        {"type": "pairwise", "from_name": "preference", "value": {"selected": "left"}},
                        {"type": "choices", "from_name": "strength", "value": {"choices": ["much"]}},
                    ],
                }
            ],
        }
        for n, task in enumerate(tasks)
    ]  # fmt: skip
    flat = [{**task["data"], "preference": "right", "annotator": 1, "lead_time": 2} for task in tasks]
    records = json.loads(sent("argilla", "json"))
    records = records if isinstance(records, list) else records["records"]
    api = [
        {**record, "responses": [{"status": "submitted", "user_id": "u", "values": {"preference": {"value": "left"}}}]}
        for record in records
    ]
    sdk = [{**record, "responses": {"preference": [{"value": "tie", "user_id": "u"}]}} for record in records]
    table = sent("csv", "csv").decode().replace("\r\n", "\n")
    lines = [json.loads(line) for line in sent("jsonl", "jsonl").splitlines()]
    filled = "".join(json.dumps({**line, "preference": "a"}) + "\n" for line in lines)
    return [
        ("a.json", json.dumps(studio).encode()), ("b.json", json.dumps(flat).encode()),
        ("c.json", json.dumps(api).encode()), ("d.json", json.dumps(sdk).encode()), ("e.csv", table.encode()),
        ("f.tsv", table.replace(",", "\t").encode()), ("g.jsonl", filled.encode()),
    ]  # fmt: skip


def _pools(pool: Pool) -> dict[str, list[tuple[str, bytes]]]:
    canonical = "".join(json.dumps(row) + "\n" for row in rows()).encode()
    flat = "prompt_id,prompt,response,generator,quality\n" + "".join(
        f'{p.prompt_id},"question, {x}",{r.text},{r.generator},1.5\n'
        for x, p in enumerate(pool.prompts)
        for r in p.responses
    )
    trl = [{"prompt": f"q {x}", "chosen": f"good {x}", "rejected": f"bad {x}", "score_chosen": 1.0} for x in range(6)]
    talk = "\n\nHuman: hi {0}\n\nAssistant: {1}"
    hh = [{"chosen": talk.format(x, "yes"), "rejected": talk.format(x, "no")} for x in range(6)]
    ultra = [
        {
            "instruction": f"q {x}",
            "completions": [{"model": m, "response": f"{m} {x}", "overall_score": 3} for m in "uv"],
        }
        for x in range(6)
    ]
    distil = [
        {
            "instruction": f"q {x}",
            "generations": [f"a {x}", f"b {x}"],
            "ratings": [1, 2],
            "generation_models": ["u", "v"],
        }
        for x in range(6)
    ]
    table = canonical_table(pool)
    stream, file = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return {
        "jsonl": [("p.jsonl", canonical)],
        "csv": [("p.csv", flat.encode()), ("p.tsv", flat.replace(",", "\t").encode())],
        "json": [
            (f"{name}.{ending}", json.dumps(data).encode() if ending == "json" else _lines(data))
            for name, data in (("trl", trl), ("hh", hh), ("uf", ultra), ("dl", distil))
            for ending in ("json", "jsonl")
        ],
        "packed": [
            ("p.jsonl.gz", gzip.compress(canonical, mtime=0)),
            ("p.jsonl.zst", zstandard.ZstdCompressor().compress(canonical)),
        ],
        "parquet": [(f"{name}.parquet", _parquet(table, name)) for name in ("zstd", "snappy", "none")],
        "arrow": [("s.arrow", stream.getvalue()), ("f.arrow", file.getvalue())],
    }


def _parquet(table: pa.Table, compression: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression)
    return out.getvalue()


def _lines(data: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in data).encode()
