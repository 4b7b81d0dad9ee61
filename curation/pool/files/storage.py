"""Writing pools in the canonical format, and the rows that could not be read. A killed write leaves no half file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curation.errors import PoolError
from curation.pool.schema import Pool, Prompt, Reject, Response, Truth, canonical_json
from curation.system.outputs import staged_file

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_LABELS = pa.list_(
    pa.struct([("response_a_id", pa.string()), ("response_b_id", pa.string()), ("probability", pa.float64())])
)


@contextmanager
def replaced(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block succeeds and vanishes when it does not.

    Raises PoolError when the folder cannot be written to, or, without `force`, when the name is taken by then.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PoolError(f"{target} cannot be written: {error.strerror or error}.") from error
    try:
        with staged_file(target, force=force) as temporary:
            yield temporary
    except FileExistsError:
        raise PoolError(
            f"{target} already exists and was left as it is; choose another place, or replace it with --force."
        ) from None
    except OSError as error:
        raise PoolError(f"{target} cannot be written: {error.strerror or error}.") from error


def write_pool(pool: Pool, path: str | Path, *, truth: Truth | None = None) -> Path:
    """`pool` as .jsonl, .jsonl.gz, .jsonl.zst or .parquet, by the ending; outcomes only when `truth` is given.

    Reading the file back gives the same fingerprint. Raises PoolError for another ending or an unwritable folder.
    """
    target = Path(path)
    ending = next((e for e in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet") if target.name.endswith(e)), None)
    if ending is None:
        raise PoolError(f"{target} has an unknown ending; use .jsonl, .jsonl.gz, .jsonl.zst or .parquet.")
    with replaced(target) as temporary:
        if ending == ".parquet":
            pq.write_table(canonical_table(pool, truth=truth), temporary, compression="zstd")
        else:
            data = "".join(f"{_compact(row)}\n" for row in canonical_rows(pool, truth=truth)).encode("utf-8")
            temporary.write_bytes(_compressed(data, ending))
    return target


def write_rejects(rejects: Iterable[Reject], path: str | Path, *, force: bool = True) -> Path:
    """One JSON object per rejected row: line, reason, raw. An empty file when there are none."""
    lines = [_compact({"line": r.line, "reason": r.reason, "raw": r.raw}) + "\n" for r in rejects]
    return write_text("".join(lines), path, force=force)


def write_text(text: str, path: str | Path, *, force: bool = True) -> Path:
    """A text file, whole or not at all. Raises PoolError, without `force` also for a name that is taken."""
    target = Path(path)
    with replaced(target, force=force) as temporary:
        temporary.write_bytes(text.encode("utf-8", "replace"))
    return target


def canonical_rows(pool: Pool, *, truth: Truth | None = None) -> Iterator[dict[str, Any]]:
    """The pool as rows of the canonical format; fields at their default are left out."""
    labels = _labels_by_prompt(truth)
    for prompt in pool.prompts:
        row: dict[str, Any] = {"prompt_id": prompt.prompt_id, "prompt": prompt.prompt}
        row["responses"] = [_response_row(prompt, response, truth) for response in prompt.responses]
        if prompt.pairs is not None:
            row["pairs"] = _pair_ids(prompt)
        if prompt.prompt_id in labels:
            row["labels"] = [list(label) for label in labels[prompt.prompt_id]]
        if prompt.stratum is not None:
            row["stratum"] = prompt.stratum
        if prompt.weight != 1.0:
            row["prompt_weight"] = prompt.weight
        if prompt.meta:
            row["meta"] = prompt.meta
        yield row


def canonical_table(pool: Pool, *, truth: Truth | None = None) -> pa.Table:
    """The pool as an Arrow table of the canonical shape.

    `meta` is JSON text, `labels` a list of {response_a_id, response_b_id, probability}. Where some prompts are text and
    others message lists, the latter stand in `prompt_messages`, since one column has one type; as JSON text where a
    message carries more than role and content. `messages` of a response are JSON text.
    """
    rows = list(canonical_rows(pool, truth=truth))
    lists = [isinstance(row["prompt"], list) for row in rows]
    rich = any(len(m) > 2 for row, is_list in zip(rows, lists, strict=True) if is_list for m in row["prompt"])
    apart = any(lists) and (rich or not all(lists))
    response = [("response_id", pa.string()), ("text", pa.string()), ("generator", pa.string())]
    response += [("reference_logprob", pa.float64()), ("meta", pa.string())]
    if truth is not None:
        response.append(("quality", pa.float64()))
    if any(r.messages is not None for prompt in pool.prompts for r in prompt.responses):
        response.append(("messages", pa.string()))
    fields = [("prompt_id", pa.string()), ("prompt", _MESSAGES if rows and all(lists) and not apart else pa.string())]
    if apart:
        fields.append(("prompt_messages", pa.string() if rich else _MESSAGES))
    fields += [("responses", pa.list_(pa.struct(response))), ("pairs", pa.list_(pa.list_(pa.string())))]
    fields += [("stratum", pa.string()), ("prompt_weight", pa.float64()), ("meta", pa.string())]
    if truth is not None:
        fields.append(("labels", _LABELS))
    for row, is_list in zip(rows, lists, strict=True):
        if is_list and apart:
            row["prompt_messages"] = canonical_json(row["prompt"]) if rich else row["prompt"]
            row["prompt"] = None
        row["meta"] = _meta_text(row)
        row["labels"] = [dict(zip(_LABELS.value_type.names, label, strict=True)) for label in row.get("labels", [])]
        for item in row["responses"]:
            item["meta"] = _meta_text(item)
            if "messages" in item:
                item["messages"] = canonical_json(item["messages"])
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _response_row(prompt: Prompt, response: Response, truth: Truth | None) -> dict[str, Any]:
    row: dict[str, Any] = {"response_id": response.response_id, "text": response.text}
    if response.generator is not None:
        row["generator"] = response.generator
    if response.reference_logprob is not None:
        row["reference_logprob"] = response.reference_logprob
    if truth is not None and (prompt.prompt_id, response.response_id) in truth.quality:
        row["quality"] = truth.quality[prompt.prompt_id, response.response_id]
    if response.meta:
        row["meta"] = response.meta
    if response.messages is not None:
        row["messages"] = list(response.messages)
    return row


def _pair_ids(prompt: Prompt) -> list[list[str]]:
    ids = [response.response_id for response in prompt.responses]
    return [[ids[i], ids[j]] for i, j in prompt.pairs or ()]


def _labels_by_prompt(truth: Truth | None) -> dict[str, list[tuple[str, str, float]]]:
    grouped: dict[str, list[tuple[str, str, float]]] = {}
    for prompt_id, a, b, probability in truth.labels if truth else ():
        grouped.setdefault(prompt_id, []).append((a, b, probability))
    return grouped


def _meta_text(row: dict[str, Any]) -> str | None:
    return canonical_json(row["meta"]) if row.get("meta") else None


def _compact(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)


def _compressed(data: bytes, ending: str) -> bytes:
    if ending == ".jsonl.gz":
        return gzip.compress(data, mtime=0)
    return zstandard.ZstdCompressor().compress(data) if ending == ".jsonl.zst" else data
