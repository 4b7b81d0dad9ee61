"""Extraction with the fitted model on real pools: batching, reuse, truncation and metadata hold there too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation.pool.readers.read import read_pool
from curation.representation.encoder import Encoder
from curation.representation.extract import extract
from curation.representation.features_file import read_features
from curation.representation.models import load_model
from curation.representation.reference import FitSettings
from tests.desk.pools import real_pool

pytestmark = pytest.mark.slow
SAMPLE = 60  # prompts


@pytest.mark.parametrize(("name", "read"), [("answers_dev.jsonl.gz", 1.0), ("hh_harmless_base_test.jsonl.gz", 0.85)])
def test_the_fitted_model_reads_a_real_pool_alike_in_any_batch(name: str, read: float, tmp_path: Path) -> None:
    entries = read_pool(real_pool(name)).pool.prompts[:SAMPLE]
    prompts = [entry.prompt for entry in entries]
    responses = [[response.text for response in entry.responses] for entry in entries]
    ids = [(entry.prompt_id, response.response_id) for entry in entries for response in entry.responses]
    done = extract(
        prompts,
        responses,
        ids,
        out=tmp_path / "f.parquet",
        model="fit",
        device="cpu",
        fit=FitSettings(steps=40),
        fit_folder=tmp_path / "model",
        pool_fingerprint="abc",
    )
    table = read_features(tmp_path / "f.parquet", ids)
    assert float(done.metadata["heldout_loss"]) < 0.95 * float(done.metadata["initial_loss"])
    for key in ("model", "revision", "dtype", "layer", "pooling", "template", "pool_fingerprint", "seed", "truncation"):
        assert done.metadata[key], key
    loaded = load_model(str(tmp_path / "model"), device="cpu")
    tokens: list[int] = []
    loaded.model.register_forward_pre_hook(
        lambda _module, _args, options: tokens.append(options["input_ids"].numel()), with_kwargs=True
    )
    encoder = Encoder(loaded)
    tokens.clear()
    once = encoder.encode(prompts, responses)
    reused = sum(tokens)
    tokens.clear()
    Encoder(loaded, reuse=False).encode(prompts, responses)
    assert reused <= read * sum(tokens)  # HH repeats a dialogue for two short answers
    single = Encoder(loaded, reuse=False, batch_tokens=1).encode(prompts, responses)
    scale = np.abs(single.matrix).max()
    assert np.abs(once.matrix - single.matrix).max() < 1e-4 * scale
    assert np.abs(table.matrix - single.matrix).max() < 2e-3 * scale  # the file holds float16
    assert once.reference_logprob is not None
    np.testing.assert_allclose(once.reference_logprob, single.reference_logprob, rtol=1e-4)
    np.testing.assert_allclose(table.reference_logprob, single.reference_logprob, rtol=1e-4)
    assert (once.reference_logprob < 0).all()
    assert once.cuts == single.cuts
    assert done.truncated == once.truncated
