"""The fitted reference and the extraction that writes a features file: repeatable, resumable, honest about loss."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import RepresentationError
from curation.representation import extract as extract_module
from curation.representation.encoder import encode
from curation.representation.extract import extract
from curation.representation.features_file import read_features
from curation.representation.reference import FitSettings, fit_reference, load_fit
from tests.desk.tiny_models import save_model

WORDS = "the sea is wide and deep and the sailors sleep while eight eggs boil in water near paris france".split()
QUICK = FitSettings(steps=4, batch_tokens=256, vocabulary=300, layers=1, width=16, heads=2, context=96)


def _texts(n_prompts: int = 12, n_responses: int = 3) -> tuple[list[Any], list[list[str]], list[tuple[str, str]]]:
    rng = np.random.default_rng(0)
    prompts: list[Any] = [f"Tell me about {' '.join(rng.choice(WORDS, 4))}." for _ in range(n_prompts)]
    prompts[1] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go on"},
    ]
    responses = [[" ".join(rng.choice(WORDS, rng.integers(3, 25))) for _ in range(n_responses)] for _ in prompts]
    ids = [(f"p{x}", f"r{i}") for x in range(n_prompts) for i in range(n_responses)]
    return prompts, responses, ids


def _digests(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "tokenizer.json")
    }


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_bit_for_bit_even_in_another_process(tmp_path: Path) -> None:
    prompts, responses, _ = _texts()
    first = fit_reference(prompts, responses, out=tmp_path / "a", seed=3, settings=QUICK)
    fit_reference(prompts, responses, out=tmp_path / "b", seed=4, settings=QUICK)
    code = (
        "import sys; from pathlib import Path; from tests.representation.test_reference_fit import QUICK, _texts\n"
        "from curation.representation.reference import fit_reference\n"
        "p, r, _ = _texts(); fit_reference(p, r, out=Path(sys.argv[1]), seed=3, settings=QUICK)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        timeout=400,
    )
    assert _digests(tmp_path / "a") == _digests(tmp_path / "c")
    assert _digests(tmp_path / "a")["model.safetensors"] != _digests(tmp_path / "b")["model.safetensors"]
    assert load_fit(tmp_path / "a") == first


def test_the_fit_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    import torch

    prompts, responses, _ = _texts()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    fit_reference(prompts, responses, out=tmp_path / "a", settings=QUICK)
    assert torch.equal(before, torch.get_rng_state())


def test_the_losses_are_nats_per_response_token_of_the_held_out_prompts(tmp_path: Path) -> None:
    """Encoding every prompt one by one with the saved model finds the prompts whose loss is the one reported."""
    prompts, responses, _ = _texts()
    fitted = fit_reference(prompts, responses, out=tmp_path / "a", settings=QUICK)
    assert fitted.heldout_prompts == 1
    assert fitted.initial_loss == pytest.approx(np.log(fitted.vocabulary), abs=0.1)  # untrained: uniform over tokens
    losses = []
    for prompt, texts in zip(prompts, responses, strict=True):
        encoded = encode([prompt], [texts], model=str(tmp_path / "a"), device="cpu")
        assert encoded.reference_logprob is not None
        losses.append(-float(encoded.reference_logprob.sum()) / float(encoded.n_tokens.sum()))
    assert min(abs(loss - fitted.heldout_loss) for loss in losses) < 1e-5


def test_more_steps_learn_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    prompts, responses, _ = _texts(40, 4)
    longer = FitSettings(
        steps=80, batch_tokens=512, vocabulary=300, layers=1, width=32, heads=2, context=96, learning_rate=1e-2
    )
    fitted = fit_reference(prompts, responses, out=tmp_path / "a", settings=longer)
    assert fitted.heldout_loss < fitted.initial_loss - 1.0  # 20 words: most of log(300) can be learnt
    assert 0 < fitted.best_step <= fitted.steps
    assert fitted.notes == ()


def test_a_fit_that_did_not_learn_says_so(tmp_path: Path) -> None:
    prompts, responses, _ = _texts()
    still = FitSettings(steps=1, vocabulary=300, layers=1, width=16, heads=2, context=96, learning_rate=1e-12)
    fitted = fit_reference(prompts, responses, out=tmp_path / "a", settings=still)
    assert fitted.heldout_loss <= fitted.initial_loss
    worse = FitSettings(steps=8, vocabulary=300, layers=1, width=16, heads=2, context=96, learning_rate=50.0)
    spoilt = fit_reference(prompts, responses, out=tmp_path / "b", settings=worse)
    assert spoilt.best_step == 0
    assert any("no better than before" in note for note in spoilt.notes)


def test_any_text_can_be_encoded_by_the_fitted_tokenizer(tmp_path: Path) -> None:
    prompts, responses, _ = _texts()
    fit_reference(prompts, responses, out=tmp_path / "a", settings=QUICK)
    encoded = encode(["日本語?"], [["🥚 ñ \x00", ""]], model=str(tmp_path / "a"), device="cpu")
    assert np.isfinite(encoded.matrix).all()
    assert encoded.n_tokens[1] == 1  # the end token alone


def test_pools_too_small_or_empty_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RepresentationError, match="at least 2 prompts"):
        fit_reference(["a"], [["b", "c"]], out=tmp_path / "a", settings=QUICK)
    with pytest.raises(RepresentationError, match="every response is empty"):
        fit_reference(["a", "b"], [["", ""], ["", ""]], out=tmp_path / "a", settings=QUICK)


def test_extract_writes_what_encode_computes_with_its_metadata(tmp_path: Path) -> None:
    prompts, responses, ids = _texts()
    model = str(save_model(tmp_path / "m", "gpt2"))
    done = extract(
        prompts,
        responses,
        ids,
        out=tmp_path / "f.parquet",
        model=model,
        pooling="mean",
        device="cpu",
        dtype="float32",
        pool_fingerprint="abcd",
    )
    table = read_features(tmp_path / "f.parquet", ids, pool_fingerprint="abcd")
    encoded = encode(prompts, responses, model=model, pooling="mean", device="cpu")
    np.testing.assert_allclose(table.matrix, encoded.matrix, atol=1e-5)
    np.testing.assert_allclose(table.reference_logprob, encoded.reference_logprob, rtol=1e-5)
    np.testing.assert_array_equal(table.n_tokens, encoded.n_tokens)
    assert table.notes == ()
    for key in ("model", "revision", "dtype", "layer", "pooling", "template"):
        assert table.metadata[key] == encoded.metadata[key]
    assert (done.responses, done.width, done.log_probabilities) == (len(ids), 32, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.parquet", "m"]  # the parts are gone


class _Killed(Exception):
    pass


@pytest.mark.parametrize("model", ["fit", "gpt2"])
def test_a_resumed_run_equals_an_uninterrupted_one(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, responses, ids = _texts()
    monkeypatch.setattr(extract_module, "SHARD_RESPONSES", 9)  # four shards
    source = model if model == "fit" else str(save_model(tmp_path / "m", model))
    options: dict[str, Any] = {"model": source, "device": "cpu", "fit": QUICK, "seed": 5}
    extract(prompts, responses, ids, out=tmp_path / "whole.parquet", **options)

    out = tmp_path / "cut.parquet"

    def kill(done: int, total: int, seconds: float) -> None:
        if done > 20:  # in the third shard
            raise _Killed

    with pytest.raises(_Killed):
        extract(prompts, responses, ids, out=out, progress=kill, **options)
    assert not out.exists()
    with pytest.raises(RepresentationError, match=r"unfinished run; use --resume"):
        extract(prompts, responses, ids, out=out, **options)
    with pytest.raises(RepresentationError, match="other texts or settings"):
        extract(prompts, responses, ids, out=out, resume=True, **{**options, "pooling": "last"})
    changed = [["another text", *texts[1:]] for texts in responses]
    with pytest.raises(RepresentationError, match="other texts or settings"):
        extract(prompts, changed, ids, out=out, resume=True, **options)
    (tmp_path / "cut.parquet.parts" / "shard-00001.npz").write_bytes(b"damaged")
    refits: list[int] = []
    seen: list[int] = []
    done = extract(
        prompts,
        responses,
        ids,
        out=out,
        resume=True,
        progress=lambda part, total, seconds: seen.append(part),
        fit_progress=lambda part, total, seconds: refits.append(part),
        **options,
    )
    assert done.reused_shards == 1  # the first; the second was damaged, the third was cut off
    assert refits == []
    assert seen[-1] == len(ids)
    assert seen == sorted(seen)
    whole, cut = (read_features(tmp_path / name, ids) for name in ("whole.parquet", "cut.parquet"))
    assert cut.fingerprint == whole.fingerprint
    assert cut.metadata == whole.metadata
    assert not (tmp_path / "cut.parquet.parts").exists()


def test_an_output_that_exists_is_refused_kept_or_replaced_as_asked(tmp_path: Path) -> None:
    prompts, responses, ids = _texts()
    out = tmp_path / "f.parquet"
    options: dict[str, Any] = {"out": out, "model": str(save_model(tmp_path / "m", "gpt2")), "device": "cpu"}
    extract(prompts, responses, ids, **options)
    stamp = out.stat().st_mtime_ns
    with pytest.raises(RepresentationError, match=r"exists; use --resume .*--force"):
        extract(prompts, responses, ids, **options)
    again = extract(prompts, responses, ids, resume=True, **options)
    assert out.stat().st_mtime_ns == stamp
    assert any("whole already" in note for note in again.notes)
    assert again.log_probabilities
    with pytest.raises(RepresentationError, match="other texts or settings"):
        extract(prompts, responses, ids, resume=True, pooling="last", **options)
    forced = extract(prompts, responses, ids, force=True, pooling="last", **options)
    assert forced.metadata["pooling"] == "last"
    assert read_features(out, ids).metadata["pooling"] == "last"


def test_fit_metadata_names_seed_steps_and_losses_and_the_folder_is_kept_when_given(tmp_path: Path) -> None:
    prompts, responses, ids = _texts()
    steps: list[tuple[int, int]] = []
    done = extract(
        prompts,
        responses,
        ids,
        out=tmp_path / "f.parquet",
        model="fit",
        fit=QUICK,
        seed=2,
        device="cpu",
        fit_folder=tmp_path / "reference",
        fit_progress=lambda part, total, seconds: steps.append((part, total)),
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kept = load_fit(tmp_path / "reference")
    assert kept is not None
    assert done.metadata["model"] == "fit"
    assert (done.metadata["seed"], done.metadata["steps"]) == ("2", "4")
    assert float(done.metadata["heldout_loss"]) == pytest.approx(kept.heldout_loss, abs=1e-6)
    with pytest.raises(RepresentationError, match="holds a model already"):
        extract(
            prompts,
            responses,
            ids,
            out=tmp_path / "g.parquet",
            model="fit",
            fit=QUICK,
            device="cpu",
            fit_folder=tmp_path / "reference",
        )


def test_features_too_large_for_float16_are_written_as_float32_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    prompts, responses, ids = _texts()
    folder = save_model(tmp_path / "m", "gpt2")
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if key.endswith("ln_f.weight"))
    weights[name] = torch.full_like(weights[name], 1e6)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    done = extract(prompts, responses, ids, out=tmp_path / "f.parquet", model=str(folder), device="cpu")
    assert any("float32" in note for note in done.notes)
    assert np.abs(read_features(tmp_path / "f.parquet", ids).matrix).max() > 1e5


def test_a_failing_model_leaves_no_output(tmp_path: Path) -> None:
    prompts, responses, ids = _texts()
    with pytest.raises(RepresentationError, match="does not exist"):
        extract(prompts, responses, ids, out=tmp_path / "f.parquet", model=str(tmp_path / "absent"), device="cpu")
    assert not (tmp_path / "f.parquet").exists()
    model = str(save_model(tmp_path / "m", "gpt2"))
    extract(prompts, responses, ids, out=tmp_path / "f.parquet", model=model, device="cpu")  # nothing is in the way


def test_a_folder_that_is_not_ours_is_never_deleted(tmp_path: Path) -> None:
    prompts, responses, ids = _texts()
    (tmp_path / "f.parquet.parts").mkdir()
    (tmp_path / "f.parquet.parts" / "thesis.txt").write_text("years of work")
    with pytest.raises(RepresentationError, match="in the way"):
        extract(prompts, responses, ids, out=tmp_path / "f.parquet", model=str(tmp_path / "m"), force=True)
    assert (tmp_path / "f.parquet.parts" / "thesis.txt").exists()


@pytest.mark.slow
def test_the_default_fit_learns_a_small_pool(tmp_path: Path) -> None:
    prompts, responses, _ = _texts(60, 8)
    fitted = fit_reference(prompts, responses, out=tmp_path / "a")
    assert fitted.heldout_loss < 0.6 * fitted.initial_loss
