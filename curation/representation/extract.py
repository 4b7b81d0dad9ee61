"""From a pool's texts to a features file, in shards that survive an interruption."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.errors import FeaturesError, RepresentationError
from curation.representation.encoder import VERSION, BatchTokens, Cuts, Encoder, Progress
from curation.representation.features_file import read_features, write_features
from curation.representation.forward import Pooling
from curation.representation.layout import PromptLike
from curation.representation.models import ModelDtype, load_model
from curation.representation.reference import FitSettings, ReferenceFit, fit_reference, load_fit

log = logging.getLogger(__name__)
FIT = "fit"
SHARD_RESPONSES = 512  # responses per shard at most; of a large model fewer, so that about a minute's work can be lost
_BYTES_PER_TOKEN = 4  # of text, roughly


@dataclass(frozen=True)
class Extraction:
    """A features file that has just been written (or was found whole)."""

    path: str
    responses: int
    width: int
    log_probabilities: bool
    truncated: int
    reused_shards: int
    seconds: float
    metadata: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Shard:
    matrix: NDArray[np.float32]
    logprob: NDArray[np.float64]
    n_tokens: NDArray[np.int32]
    cuts: Cuts


def extract(
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    ids: Sequence[tuple[str, str]],
    *,
    out: str | Path,
    model: str,
    layer: int = -1,
    pooling: Pooling = "mean",
    batch_tokens: BatchTokens = "auto",
    device: str = "auto",
    model_dtype: ModelDtype = "auto",
    trust_remote_code: bool = False,
    max_length: int | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    pool_fingerprint: str | None = None,
    seed: int = 0,
    fit: FitSettings | None = None,
    fit_folder: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    fit_progress: Progress | None = None,
) -> Extraction:
    """Encode every response with `model` (a folder, a hub name, or "fit") and write the features file `out`.

    ids: (prompt_id, response_id) in flat order. "fit" first fits a small reference on the pool (`fit`, `seed`), kept
    in `fit_folder` when one is given. Finished shards lie in `OUT.parts/` until the file is whole; `resume` goes on
    from them and gives the file that an uninterrupted run gives; `force` starts over and replaces `out`. progress:
    responses done, in all, seconds; fit_progress: steps. model_dtype, trust_remote_code: as `load_model`. dtype: of the
    numbers in the file. Raises RepresentationError when `out` or unfinished parts
    exist and neither is asked for, when parts belong to another run, or when the model fails.
    """
    start = time.perf_counter()
    target = Path(out)
    counts = [len(texts) for texts in responses]
    if len(prompts) != len(counts) or sum(counts) != len(ids) or not ids:
        raise RepresentationError(f"{len(ids)} ids do not fit {sum(counts)} responses of {len(prompts)} prompts.")
    run = _run_key(
        prompts, responses, ids, VERSION, model, layer, pooling, batch_tokens, device, model_dtype, max_length, dtype,
        seed, fit,
    )  # fmt: skip
    parts = target.with_name(target.name + ".parts")
    if resume and not force and target.exists() and (not parts.exists() or _made_by(target, run)):
        whole = _already_whole(target, ids, run, time.perf_counter() - start)
        _remove(parts)  # what a run killed at its very end has left
        return whole
    _prepare(target, parts, run, resume, force)

    notes: list[str] = []
    source, fitted = model, None
    if model == FIT:
        folder = Path(fit_folder) if fit_folder is not None else parts / "model"
        fitted = _fitted(folder, run, prompts, responses, seed, fit, fit_progress, resume, force)
        source = str(folder)
        notes += fitted.notes
    encoder = Encoder(
        load_model(source, device=device, dtype=model_dtype, trust_remote_code=trust_remote_code),
        layer=layer,
        pooling=pooling,
        batch_tokens=batch_tokens,
        max_length=max_length,
    )
    encoder.check(prompts, _prompt_names(ids, counts))
    _check_room(target, len(ids), encoder.width, dtype)
    shards, reused = _shards(encoder, prompts, responses, parts, progress)
    matrix = np.concatenate([shard.matrix for shard in shards])
    logprob = np.concatenate([shard.logprob for shard in shards])
    cuts = sum((shard.cuts for shard in shards), Cuts())
    notes += encoder.notes(cuts, len(ids))
    if dtype == "float16" and float(np.abs(matrix).max()) > float(np.finfo(np.float16).max):
        dtype = "float32"
        notes.append("features exceed what float16 can hold: written as float32.")
    metadata = {**encoder.metadata, "run": run, "truncated": str(cuts.truncated), "stored_as": dtype}
    metadata["truncation"] = json.dumps(asdict(cuts))
    if pool_fingerprint is not None:
        metadata["pool_fingerprint"] = pool_fingerprint
    if fitted is not None:
        metadata |= {
            "model": FIT,
            "seed": str(seed),
            "steps": str(fitted.steps),
            "best_step": str(fitted.best_step),
            "initial_loss": f"{fitted.initial_loss:.6f}",
            "heldout_loss": f"{fitted.heldout_loss:.6f}",
        }
    metadata["notes"] = json.dumps(notes)
    write_features(
        target,
        ids,
        matrix,
        reference_logprob=logprob if encoder.causal else None,
        n_tokens=np.concatenate([shard.n_tokens for shard in shards]),
        metadata=metadata,
        dtype=dtype,
    )
    _remove(parts)
    return Extraction(
        path=str(target),
        responses=len(ids),
        width=int(matrix.shape[1]),
        log_probabilities=encoder.causal,
        truncated=cuts.truncated,
        reused_shards=reused,
        seconds=time.perf_counter() - start,
        metadata=metadata,
        notes=tuple(notes),
    )


def _run_key(
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    ids: Sequence[tuple[str, str]],
    *options: Any,
) -> str:
    """16 hex digits over every text and setting that the features depend on."""
    digest = hashlib.sha256(json.dumps([SHARD_RESPONSES, *options], default=asdict).encode())
    for part in (prompts, responses, ids):
        for entry in part:
            digest.update(json.dumps(entry, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _made_by(target: Path, run: str) -> bool:
    """Whether a features file is the work of this very run."""
    try:
        found = pq.read_schema(target).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(found.get(b"run") == run.encode())


def _remove(parts: Path) -> None:
    """Delete the parts; their mark goes last, so that a run killed here is still known for what it is."""
    if not parts.exists():
        return
    for path in sorted(parts.iterdir(), key=lambda path: path.name == "run.json"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    parts.rmdir()


def _already_whole(target: Path, ids: Sequence[tuple[str, str]], run: str, seconds: float) -> Extraction:
    try:
        table = read_features(target, ids)
    except FeaturesError as error:
        raise RepresentationError(
            f"{target} exists and cannot be resumed: {error} Use --force to replace it."
        ) from error
    if table.metadata.get("run") != run:
        raise RepresentationError(
            f"{target} exists and was made with other texts or settings; use --force to replace it, or another --out."
        )
    return Extraction(
        path=str(target),
        responses=len(ids),
        width=int(table.matrix.shape[1]),
        log_probabilities=table.reference_logprob is not None,
        truncated=int(table.metadata.get("truncated", "0")),
        reused_shards=0,
        seconds=seconds,
        metadata=table.metadata,
        notes=(*json.loads(table.metadata.get("notes", "[]")), f"{target.name} was whole already; nothing was done."),
    )


def _made_by_a_run(parts: Path) -> bool:
    """Whether a folder is the parts of a run, whole or cut off, and holds nothing else."""
    if not parts.is_dir():
        return False
    inside = list(parts.iterdir())
    if not all(re.fullmatch(r"\.?shard-.*|run\.json|model", path.name) for path in inside):
        return False
    try:
        if not inside or [(path.name, path.stat().st_size) for path in inside] == [("run.json", 0)]:
            return True  # killed as it began
        return isinstance(json.loads((parts / "run.json").read_text(encoding="utf-8"))["run"], str)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _prepare(target: Path, parts: Path, run: str, resume: bool, force: bool) -> None:
    """Refuse what would be lost; leave a parts folder marked with this run's key."""
    if target.exists() and not (force or resume):
        raise RepresentationError(f"{target} exists; use --resume to keep it, --force to replace it, or another --out.")
    mark = parts / "run.json"
    if parts.is_symlink() or (parts.exists() and not _made_by_a_run(parts)):
        raise RepresentationError(f"{parts} is in the way and was not made by a run; move it, or choose another --out.")
    finished = any(parts.glob("shard-*.npz")) or (parts / "model" / "run.json").is_file()
    if finished and not force:
        if not resume:
            raise RepresentationError(
                f"{parts.name} holds an unfinished run; use --resume to go on with it or --force to start over."
            )
        try:
            found = json.loads(mark.read_text())["run"]
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        if found != run:
            raise RepresentationError(
                f"{parts.name} belongs to a run with other texts or settings; repeat it with the same ones, or use "
                "--force to start over."
            )
        return
    try:
        if parts.exists():
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        mark.write_text(json.dumps({"run": run}))
    except OSError as error:
        raise RepresentationError(f"{parts} cannot be written ({error.strerror}); choose another --out.") from error


def _fitted(
    folder: Path,
    run: str,
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    seed: int,
    settings: FitSettings | None,
    progress: Progress | None,
    resume: bool,
    force: bool,
) -> ReferenceFit:
    """Fit the reference, or take up the fit that this very run has finished before it was interrupted."""
    mark = folder / "run.json"
    found = load_fit(folder) if resume and mark.is_file() and mark.read_text() == run else None
    if found is not None:
        log.info("reference in %s is whole; not fitted again", folder)
        return found
    if (folder / "config.json").exists() and folder.parent.suffix != ".parts" and not force:
        raise RepresentationError(
            f"{folder} holds a model already; give an empty folder for the fitted reference, or --force to replace it."
        )
    fitted = fit_reference(prompts, responses, out=folder, seed=seed, settings=settings, progress=progress)
    mark.write_text(run)
    return fitted


def _shards(
    encoder: Encoder,
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    parts: Path,
    progress: Progress | None,
) -> tuple[list[_Shard], int]:
    """Every shard, read from `parts` where it is finished, else encoded and stored there."""
    total = sum(len(texts) for texts in responses)
    start = time.perf_counter()
    out: list[_Shard] = []
    done = reused = 0
    for number, (first, last) in enumerate(_cut(prompts, responses, encoder.tokens_a_minute)):
        path = parts / f"shard-{number:05d}.npz"
        size = sum(len(texts) for texts in responses[first:last])
        shard = _read_shard(path, first, size)
        if shard is not None:
            reused += 1
            if progress is not None:
                progress(done + size, total, time.perf_counter() - start)
        else:
            before = done

            def tell(part: int, _of: int, _seconds: float, before: int = before) -> None:
                if progress is not None:
                    progress(before + part, total, time.perf_counter() - start)

            encoded = encoder.encode(prompts[first:last], responses[first:last], progress=tell)
            logprob = encoded.reference_logprob if encoded.reference_logprob is not None else np.zeros(size)
            shard = _Shard(encoded.matrix, logprob, encoded.n_tokens, encoded.cuts)
            _write_shard(path, shard, number, first)
        out.append(shard)
        done += size
    return out, reused


def _prompt_names(ids: Sequence[tuple[str, str]], counts: Sequence[int]) -> list[str]:
    firsts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return [ids[min(int(first), len(ids) - 1)][0] for first in firsts]


def _cut(prompts: Sequence[PromptLike], responses: Sequence[Sequence[str]], tokens: int) -> list[tuple[int, int]]:
    """Prompt ranges of about `tokens` tokens and at most about SHARD_RESPONSES responses, one prompt or more; the same
    for every run on the same kind of device, so that a resumed run agrees."""
    out: list[tuple[int, int]] = []
    first = size = spent = 0
    for x, texts in enumerate(responses):
        prompt = prompts[x]
        said = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt]
        length = sum(len(text.encode("utf-8", "replace")) for text in [*said, *texts]) // _BYTES_PER_TOKEN
        if size and (size + len(texts) > SHARD_RESPONSES or spent + length > tokens):
            out.append((first, x))
            first, size, spent = x, 0, 0
        size, spent = size + len(texts), spent + length
    return [*out, (first, len(responses))]


def _read_shard(path: Path, first: int, size: int) -> _Shard | None:
    """The shard of `size` responses from prompt `first` on, or None where there is none or it was cut otherwise."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            cuts = Cuts(*(int(value) for value in stored["cuts"]))
            shard = _Shard(stored["matrix"], stored["logprob"], stored["n_tokens"], cuts)
            begins = int(stored["first"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None
    return shard if len(shard.matrix) == size and begins == first else None


def _write_shard(path: Path, shard: _Shard, number: int, first: int) -> None:
    temporary = path.with_suffix(".tmp")
    counts = np.array(list(asdict(shard.cuts).values()))
    try:
        with temporary.open("wb") as file:
            np.savez(
                file, matrix=shard.matrix, logprob=shard.logprob, n_tokens=shard.n_tokens, cuts=counts, first=first
            )
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RepresentationError(
            f"{path.parent} cannot be written ({error.strerror or error}); the {number} parts before are kept: "
            f"{'free some space' if error.errno == errno.ENOSPC else 'mend it'} and go on with --resume."
        ) from error


def _check_room(target: Path, responses: int, width: int, dtype: str) -> None:
    """Refuse before the first response what the disk cannot hold: the parts (float32) and the file beside them."""
    needed = responses * width * (4 + np.dtype(dtype).itemsize)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise RepresentationError(
            f"{target.parent} has {free / 1e9:.2f} GB free, but the features of {responses:,} responses take about "
            f"{needed / 1e9:.2f} GB; free some space, or choose another --out."
        )
