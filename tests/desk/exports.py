"""Records as a batch holds them, and exports of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curation.batch.presentation import ExportHeader, swapped
from curation.exchange.export import export_records
from curation.pool.schema import pair_id

SEED = hashlib.sha256(b"a batch").hexdigest()


HEADER = ExportHeader("batch0001", SEED, "cafe" * 16, "answers-of-secretmodel", signed=True, audit_head="feed" * 16)


def record(number: int = 1, **changes) -> dict:
    prompt_id, a, b = f"prompt{number}", "secretmodel-v1", "othermodel-v2"
    key = pair_id(prompt_id, a, b)
    made = {
        "pair_id": key, "prompt_id": prompt_id, "prompt": f"question {number}", "stratum": "S-stratum",
        "response_a_id": a, "response_b_id": b, "response_a": f"first {number}", "response_b": f"second {number}",
        "generator_a": "secretmodel", "generator_b": "othermodel", "weight": 0.7654321, "inclusion": 0.6543217,
        "copies": 1, "score": 1.2345671, "margin": 1.3456712, "leverage": 0.4567123, "feature_distance": 0.5671234,
        "reference_logprob_a": -12.345678, "reference_logprob_b": -23.456789, "reference_probability_a": 0.71234567,
        "reference_probability_b": 0.28765433, "drop_cost": 0.0123456789,
        "directions": [{"direction": 3, "share": 0.87654321}], "rationale": "R-rationale",
        "left": "b" if swapped(SEED, key) else "a", "quality": 0.98765432, **changes,
    }  # fmt: skip
    return made


def write(tmp_path: Path, records: list[dict], to: str, *, header=HEADER, order="random", name="out.file", **rest):
    return export_records(records, to=to, out=tmp_path / name, order=order, header=header, **rest)
