"""From files to a prepared pool: read it, make or read its features, fit the space, weigh its directions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curation.device import resolve_device
from curation.errors import PoolError
from curation.pool.messages import plain_messages
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, PoolFile
from curation.settings import SpaceSettings

if TYPE_CHECKING:
    from curation.representation.features_file import FeatureTable
    from curation.representation.space import Space
from curation.run.results import Prepared


def load_pool(path: str | Path, *, skip_rejects: bool = True, mapping: dict[str, str] | None = None) -> PoolFile:
    """Read a pool; mapping: field -> column, as `read_pool`. Raises PoolError where it is unusable, or where it has
    rejects and those may not be skipped."""
    file = read_pool(path, mapping=mapping)
    if file.rejects and not skip_rejects:
        first = file.rejects[0]
        raise PoolError(
            f"{path}: {len(file.rejects)} of {file.rows} rows cannot be used (line {first.line}: {first.reason}); "
            "see them all with `check POOL --rejects FILE`, mend them, or go on without them with --skip-rejects."
        )
    return file


def prepare(
    pool: Pool,
    features: str | Path | FeatureTable,
    *,
    space: SpaceSettings,
    fisher: str = "auto",
    temperature: float = 1.0,
    per_token: bool = True,
    device: str = "auto",
    fitted: Space | None = None,
) -> Prepared:
    """Features to coordinates, Fisher matrix and comparison graph (docs/method.md sections 2, 3 and 5).

    temperature, per_token: of the empirical Fisher matrix. fitted: a space to use instead of fitting one, of `space`'s
    settings.
    """
    from curation.design.geometry import Geometry
    from curation.representation.features_file import read_features
    from curation.representation.fisher_matrix import fisher_matrix, response_probabilities
    from curation.representation.space import fit_space

    chosen = resolve_device(device)
    started = time.perf_counter()
    table = features
    if isinstance(table, str | Path):
        table = read_features(table, pool.ids(), pool_fingerprint=pool.fingerprint)
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    offsets, lengths = pool.offsets(), pool.lengths()
    fitted = fitted or fit_space(table.matrix, offsets, lengths, settings=space)
    phi = fitted.transform(table.matrix, offsets, lengths)
    space_seconds = time.perf_counter() - started
    started = time.perf_counter()
    logprob = table.reference_logprob if table.reference_logprob is not None else pool.reference_logprobs()
    probabilities = response_probabilities(
        phi,
        offsets,
        logprob=logprob,
        kind=fisher,
        temperature=temperature,
        n_tokens=table.n_tokens if per_token else None,
    )
    M = fisher_matrix(phi, offsets, probabilities.p, pool.prompt_weights())
    geometry = Geometry(phi, offsets, prompt_weights=pool.prompt_weights(), edges=pool.edges(), device=chosen)
    return Prepared(
        pool=pool,
        table=table,
        space=fitted,
        phi=phi,
        probabilities=probabilities,
        fisher=M,
        geometry=geometry,
        device=chosen,
        seconds={"read": read_seconds, "space": space_seconds, "fisher": time.perf_counter() - started},
    )


def make_features(
    pool: Pool,
    out: str | Path,
    *,
    model: str,
    layer: int = -1,
    pooling: Literal["last", "mean"] = "last",
    batch_tokens: Literal["auto"] | int = "auto",
    device: str = "auto",
    model_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    trust_remote_code: bool = False,
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    fit_progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Represent every response of a pool and write the features file.

    progress: (done, total, seconds) of responses; fit_progress: the same of training steps, with `--model fit`.

    Returns responses, dim, notes and metadata. Raises RepresentationError in words.
    """
    from curation.representation.extract import extract

    made = extract(
        [plain_messages(p.prompt) if isinstance(p.prompt, list) else p.prompt for p in pool.prompts],
        [[response.text for response in prompt.responses] for prompt in pool.prompts],
        pool.ids(),
        out=out,
        model=model,
        layer=layer,
        pooling=pooling,
        batch_tokens=batch_tokens,
        device=device,
        model_dtype=model_dtype,
        trust_remote_code=trust_remote_code,
        pool_fingerprint=pool.fingerprint,
        seed=seed,
        resume=resume,
        force=force,
        progress=progress,
        fit_progress=fit_progress,
    )
    several = sum(len(r.messages or ()) > 1 for prompt in pool.prompts for r in prompt.responses)
    turns = [
        f"{several:,} responses are conversations of several turns: each was read as one answer, its roles written "
        "as text."
    ]
    return {
        "out": made.path,
        "responses": made.responses,
        "dim": made.width,
        "log_probabilities": made.log_probabilities,
        "truncated": made.truncated,
        "reused_shards": made.reused_shards,
        "seconds": made.seconds,
        "metadata": made.metadata,
        "notes": [*made.notes, *(turns if several else ())],
    }
