"""The audit trail of a batch: one record per pair, and the manifest that says how the batch came about."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from curation import __version__
from curation.batch.folder import FORMAT_VERSION, MANIFEST, BatchFolder, Record, guidelines_hash
from curation.batch.presentation import swapped
from curation.batch.writing import Contents, write_batch
from curation.declared import from_file, in_id
from curation.errors import BatchError
from curation.insight.learning_rule import taught_identity
from curation.pool.pair_lists import LocalPair
from curation.pool.schema import Pool, pair_id
from curation.run.report import report
from curation.run.results import Prepared, Solved
from curation.run.solve import Pinned
from curation.settings import DesignSettings, SpaceSettings


def reference_probabilities(logprob: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Softmax of the reference log-probabilities over each prompt's candidates, nan where one of them is unknown.

    logprob: (N,) nats. Returns (N,). This is what the reference itself says of these candidates, whatever Fisher
    matrix the design used.
    """
    out = np.full(len(logprob), np.nan)
    for start, stop in pairwise(offsets.tolist()):
        part = logprob[start:stop]
        if np.isfinite(part).all():
            scaled = np.exp(part - part.max())
            out[start:stop] = scaled / scaled.sum()
    return out


def solved_identity(solved: Solved, pinned: Pinned, excluded: Sequence[LocalPair]) -> str:
    """16 hex digits over pool, features, settings, constraints and selection: the same run has the same id."""
    pair_ids = [row[3] for row in pair_labels(solved.prepared.pool, solved, solved.batch.pairs)]
    taught = None if solved.earlier is None else solved.earlier.taught
    return _identity(
        pool=solved.prepared.pool.fingerprint,
        features=solved.prepared.table.fingerprint,
        space=asdict(solved.prepared.space.settings),
        settings=asdict(solved.settings),
        overlap=solved.overlap,
        pinned=list(pinned),
        held=list(pinned.values()) if isinstance(pinned, Mapping) else None,
        excluded=list(excluded),
        copies=list(zip(pair_ids, solved.batch.copies.tolist(), strict=True)),
        earlier=None if solved.earlier is None else [list(solved.earlier.batch_ids), solved.earlier.labels],
        taught=None if taught is None else taught.identity(),
        pilot_of=solved.pilot_of,
    )


def _identity(
    *,
    pool: str,
    features: str,
    space: dict[str, Any],
    settings: dict[str, Any],
    overlap: float,
    pinned: list[Any],
    held: list[Any] | None,
    excluded: list[Any],
    copies: list[Any],
    earlier: list[Any] | None,
    taught: list[Any] | None,
    pilot_of: float | None,
) -> str:
    content = [
        pool,
        features,
        in_id(SpaceSettings, space),
        in_id(DesignSettings, settings),
        overlap,
        pinned,
        excluded,
        copies,
        *([] if earlier is None else [earlier]),
        *([] if earlier is None or taught is None else [taught]),
        *([] if pilot_of is None else [["pilot", pilot_of]]),
        *([] if held is None else [["held", held]]),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def folder_identity(manifest: Mapping[str, Any], records: Sequence[Record]) -> str:
    """The id that a batch folder's own settings and pairs give: its batch_id, unless one of them was changed.

    Raises KeyError, TypeError or ValueError for a manifest that lacks what an id is made of.
    """
    learnt, pilot, previous = (manifest.get(name) for name in ("learnt", "pilot", "previous"))
    return _identity(
        pool=manifest["pool"]["fingerprint"],
        features=manifest["features"]["fingerprint"],
        space={name: value for name, value in manifest["space"].items() if name != "fingerprint"},
        settings=from_file(DesignSettings, manifest["settings"]),
        overlap=manifest["overlap_labels"],
        pinned=manifest["pinned"],
        held=manifest.get("pinned_labels"),
        excluded=manifest["excluded"],
        copies=[[record["pair_id"], record["copies"]] for record in records],
        earlier=None if not previous else [previous["batches"], previous["labels"]],
        taught=None if learnt is None else taught_identity(learnt["next"]),
        pilot_of=None if pilot is None else pilot["of"],
    )


def check_ids(batch: BatchFolder) -> None:
    """Raise BatchError where an id of a batch folder is not that of what stands under it."""
    for line, record in enumerate(batch.records, start=1):
        key = record["pair_id"]
        if key != pair_id(str(record["prompt_id"]), str(record["response_a_id"]), str(record["response_b_id"])):
            raise BatchError(
                f"{batch.path}, line {line} of the records: pair_id {key} is not that of its prompt and responses; the "
                "folder was changed: solve again."
            )
    try:
        identity = folder_identity(batch.manifest, batch.records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BatchError(
            f"{batch.path}: the manifest lacks what its batch_id is made of ({error}); solve again."
        ) from None
    if identity != batch.batch_id:
        raise BatchError(
            f"{batch.path}: batch_id {batch.batch_id} is not that of its settings and pairs ({identity}); the folder "
            "was changed: solve again."
        )


def batch_seed(batch_id: str, seed: int) -> str:
    """Key of the order in which the Review page shows the two responses of a pair, the same wherever it is shown.

    Up to 0.2.0 it was the key of exports too, and whoever holds an export could compute it; see `blinding_key`.
    """
    return hashlib.sha256(f"{batch_id}:{seed}".encode()).hexdigest()


def blinding_key(out: str | Path, identity: str) -> str:
    """Key of order and opaque ids of what goes out: 32 random bytes, hex. A batch replaced by itself keeps its own."""
    try:
        known = json.loads((Path(out) / MANIFEST).read_text(encoding="utf-8"))
        if known["batch_id"] == identity and isinstance(known["batch_seed"], str):
            return str(known["batch_seed"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no batch of this id lies there
    return secrets.token_hex(32)


def pair_labels(pool: Pool, solved: Solved, pairs: np.ndarray) -> list[tuple[int, int, int, str]]:
    """(prompt number, candidate a, candidate b, pair_id) of pair numbers (m,)."""
    geometry = solved.prepared.geometry
    prompt = geometry.prompt_of(pairs)
    first, second = geometry.endpoints(pairs)
    rows = []
    for x, i, j in zip(prompt.tolist(), first.tolist(), second.tolist(), strict=True):
        entry, base = pool.prompts[x], int(geometry.offsets[x])
        a, b = entry.responses[i - base].response_id, entry.responses[j - base].response_id
        rows.append((x, i - base, j - base, pair_id(entry.prompt_id, a, b)))
    return rows


def audit_records(solved: Solved, seed_key: str) -> list[Record]:
    """One record per pair of the batch, in pool order, with every key of the batch format.

    messages_a, messages_b stand beside the texts only where a response is more than one plain message.
    """
    pool, told = solved.prepared.pool, solved.explanations
    offsets = solved.prepared.geometry.offsets
    logprob = solved.prepared.table.reference_logprob
    known = pool.reference_logprobs() if logprob is None else np.asarray(logprob, dtype=float)
    probability = reference_probabilities(known, offsets)
    weights = solved.design.weights.cpu().numpy()
    records = []
    for m, (x, i, j, key) in enumerate(pair_labels(pool, solved, solved.batch.pairs)):
        entry = pool.prompts[x]
        a, b = entry.responses[i], entry.responses[j]
        row_a, row_b = int(offsets[x]) + i, int(offsets[x]) + j
        inclusion = None
        if solved.batch.inclusion is not None:  # at most r: sums of weights meet it up to rounding
            inclusion = min(float(solved.batch.inclusion[m]), solved.settings.max_labels_per_pair)
        records.append(
            {
                "pair_id": key,
                "prompt_id": entry.prompt_id,
                "prompt": entry.prompt,
                "stratum": entry.stratum,
                "response_a_id": a.response_id,
                "response_b_id": b.response_id,
                "response_a": a.text,
                "response_b": b.text,
                "generator_a": a.generator,
                "generator_b": b.generator,
                "weight": float(weights[solved.batch.pairs[m]]),
                "inclusion": inclusion,
                "copies": int(solved.batch.copies[m]),
                "score": float(told.score[m]),
                "margin": _finite(told.margin[m]),
                "leverage": float(told.leverage[m]),
                "feature_distance": float(told.feature_distance[m]),
                "reference_logprob_a": _finite(known[row_a]),
                "reference_logprob_b": _finite(known[row_b]),
                "reference_probability_a": _finite(probability[row_a]),
                "reference_probability_b": _finite(probability[row_b]),
                "drop_cost": float(told.drop_cost[m]),
                "directions": [
                    {"direction": int(k), "share": float(share)}
                    for k, share in zip(told.directions[m], told.shares[m], strict=True)
                ],
                "rationale": told.rationale(m),
                "left": "b" if swapped(seed_key, key) else "a",
                **{f"messages_{side}": list(r.messages) for side, r in (("a", a), ("b", b)) if r.messages is not None},
            }
        )
    return records


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def save_batch(
    solved: Solved,
    out: str | Path,
    *,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
    force: bool = False,
    author: str | None = None,
    guidelines: str | None = None,
    replaces: str | None = None,
) -> Path:
    """Write the batch folder of a solved design; force, replaces: as `write_batch`.

    author: who solved it. guidelines: what annotators are told, a file of the folder whose sha256 the manifest names.
    Neither changes an id. Raises BatchError where `out` may not be written.
    """
    identity = solved_identity(solved, pinned, excluded)
    contents = batch_contents(solved, identity, out, pinned, excluded, author, guidelines)
    return write_batch(out, contents, force=force, replaces=replaces)


def batch_contents(
    solved: Solved,
    identity: str,
    out: str | Path,
    pinned: Pinned,
    excluded: Sequence[LocalPair],
    author: str | None,
    guidelines: str | None,
) -> Contents:
    """What the batch folder of a solved design holds. identity: of `solved_identity`; the rest: as `save_batch`."""
    pool, geometry = solved.prepared.pool, solved.prepared.geometry
    chosen = pair_labels(pool, solved, solved.batch.pairs)
    shown = batch_seed(identity, solved.settings.seed)
    support = (solved.design.weights > 0).nonzero().squeeze(1).cpu().numpy()
    return Contents(
        manifest=_manifest(solved, identity, blinding_key(out, identity), pinned, excluded)
        | ({} if author is None else {"author": author})
        | ({} if guidelines is None else {"guidelines": guidelines_hash(guidelines)}),
        records=audit_records(solved, shown),
        design=_design_table(solved, support),
        space=solved.prepared.space.save,
        selected={
            "pair_id": [row[3] for row in chosen],
            "prompt_id": [pool.prompts[row[0]].prompt_id for row in chosen],
            "copies": solved.batch.copies.tolist(),
            "vector": geometry.differences(solved.batch.pairs).cpu().numpy(),
            **({} if geometry.factor is None else {"factor": geometry.factor.cpu().numpy()[solved.batch.pairs]}),
        },
        criterion={
            "fisher": solved.criterion.fisher.cpu().numpy(),
            "prior": solved.criterion.prior.cpu().numpy(),
        },
        guidelines=guidelines,
    )


NO_INCLUSION = {
    "paper": "sequential draws have no known inclusion probabilities",
    "exact": "the batch was rounded and improved by exchange, not drawn: it has no inclusion probabilities",
}


def _plain(value: Any) -> Any:
    """The value in strict JSON: infinities as text, wherever they are."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def solved_settings(solved: Solved) -> dict[str, Any]:
    """The design settings as a manifest holds them."""
    plain: dict[str, Any] = _plain(asdict(solved.settings))
    return plain


def _manifest(solved: Solved, identity: str, key: str, pinned: Pinned, excluded: Sequence[LocalPair]) -> dict[str, Any]:
    pool, table = solved.prepared.pool, solved.prepared.table
    packages = ("torch", "numpy", "scipy", "pandas", "pyarrow")
    return {
        "format_version": FORMAT_VERSION,
        "batch_id": identity,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pool": {"name": pool.name, "fingerprint": pool.fingerprint},
        "features": {"fingerprint": table.fingerprint, "metadata": table.metadata, "extra_ids": table.extra_ids},
        "space": {**asdict(solved.prepared.space.settings), "fingerprint": solved.prepared.space.fingerprint},
        "settings": solved_settings(solved),
        "overlap_labels": solved.overlap,
        "pinned": [list(pair) for pair in pinned],
        "pinned_labels": list(pinned.values()) if isinstance(pinned, Mapping) else None,
        "excluded": [list(pair) for pair in excluded],
        "previous": None
        if solved.earlier is None
        else {"batches": list(solved.earlier.batch_ids), "labels": solved.earlier.labels},
        "batch_seed": key,
        "pairs_selected": len(solved.batch.pairs),
        "labels_selected": solved.batch.labels,
        "signed": False,
        **{name: value for name, value in report(solved).to_dict().items() if name not in ("budget",)},
        "baseline_notes": {name: rule.note for name, rule in solved.baselines.items()},
        "inclusion_note": None if solved.batch.inclusion is not None else NO_INCLUSION[solved.settings.select],
        "versions": {
            "pairwright": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
    }


def _design_table(solved: Solved, support: np.ndarray) -> dict[str, Any]:
    from curation.insight.explain import scores

    pool, geometry = solved.prepared.pool, solved.prepared.geometry
    prompt = geometry.prompt_of(support)
    first, second = geometry.endpoints(support)
    ids = pool.ids()
    score, margin = scores(solved.criterion, solved.feasible, solved.design, support)
    weights = solved.design.weights.cpu().numpy()[support]
    return {
        "prompt_id": [pool.prompts[x].prompt_id for x in prompt.tolist()],
        "response_a_id": [ids[i][1] for i in first.tolist()],
        "response_b_id": [ids[j][1] for j in second.tolist()],
        "weight": weights,
        "inclusion": weights * solved.feasible.labels,
        "score": score,
        "margin": margin,
    }


def pair_probability(solved: Solved, pairs: np.ndarray) -> np.ndarray:
    """Reference probability of the likelier response of each pair (m,), nan where unknown."""
    geometry, table = solved.prepared.geometry, solved.prepared.table
    known = solved.prepared.pool.reference_logprobs() if table.reference_logprob is None else table.reference_logprob
    probability = reference_probabilities(np.asarray(known, dtype=float), geometry.offsets)
    first, second = geometry.endpoints(pairs)
    return np.asarray(np.maximum(probability[first], probability[second]))


def reference_effective(prepared: Prepared) -> np.ndarray | None:
    """Effective candidates (P,) under the softmax of the reference log-probabilities; None where any is unknown."""
    from curation.representation.segments import effective_candidates

    table, offsets = prepared.table, prepared.geometry.offsets
    known = prepared.pool.reference_logprobs() if table.reference_logprob is None else table.reference_logprob
    probability = reference_probabilities(np.asarray(known, dtype=float), offsets)
    return effective_candidates(probability, offsets) if np.isfinite(probability).all() else None
