"""The space: what centring, PCA, scaling and length do, against direct computation."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RepresentationError
from curation.representation import space as space_module
from curation.representation.segments import centre_within, segment_sums, softmax_within
from curation.representation.space import Space, fit_space
from curation.settings import SpaceSettings

SIZES = (2, 5, 3, 7, 4, 6, 3)


def _pool(sizes: tuple[int, ...] = SIZES, width: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    prompts = np.repeat(rng.normal(size=(len(sizes), width)) * 5, sizes, axis=0)  # prompts differ more than answers
    features = prompts + rng.normal(size=(int(offsets[-1]), width)) * np.linspace(1, 3, width)
    return features.astype(np.float32), offsets, rng.integers(1, 3000, int(offsets[-1])).astype(float)


def _pair_differences(rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    out = []
    for start, stop in itertools.pairwise(offsets):
        out += [rows[i] - rows[j] for i in range(start, stop) for j in range(i + 1, stop)]
    return np.array(out)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 99))
def test_segment_helpers_agree_with_a_loop_over_prompts(sizes: list[int], seed: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    values = np.random.default_rng(seed).normal(size=(int(offsets[-1]), 3))
    parts = np.split(values, offsets[1:-1])
    np.testing.assert_allclose(segment_sums(values, offsets), [part.sum(axis=0) for part in parts], atol=1e-12)
    np.testing.assert_allclose(
        centre_within(values, offsets), np.concatenate([p - p.mean(axis=0) for p in parts]), atol=1e-12
    )
    logits = [part[:, 0] * 300 for part in parts]  # far beyond what exp can take unshifted
    direct = [np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in logits]
    np.testing.assert_allclose(softmax_within(values[:, 0] * 300, offsets), np.concatenate(direct), atol=1e-12)


@pytest.mark.parametrize("pca", ["within", "raw"])
def test_full_rank_pca_is_a_rotation_and_a_scale_of_the_pair_differences(pca: str) -> None:
    features, offsets, lengths = _pool()
    space = fit_space(
        features, offsets, lengths, settings=SpaceSettings(dim=10, normalize=False, pca=pca, length=False)
    )
    phi = space.transform(features, offsets, lengths)
    before = _pair_differences(features.astype(np.float64), offsets)
    after = _pair_differences(phi, offsets)
    np.testing.assert_allclose(after @ after.T, before @ before.T * space.scale**2, rtol=1e-9, atol=1e-9)
    assert space.explained_pairs == pytest.approx(1.0, abs=1e-12)
    assert space.explained_variance_ratio.sum() == pytest.approx(1.0, abs=1e-12)


def test_within_prompt_components_are_the_leading_eigenvectors_and_the_scale_gives_norm_one() -> None:
    features, offsets, lengths = _pool()
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=4, length=False))
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    centred = np.concatenate([p - p.mean(axis=0) for p in np.split(unit, offsets[1:-1])])
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(space.components.T @ right[:4].T), np.eye(4), atol=1e-7)
    np.testing.assert_allclose(space.explained_variance_ratio, singular[:4] ** 2 / np.sum(singular**2), rtol=1e-9)
    phi = space.transform(features, offsets, lengths)
    assert np.mean(np.sum(phi**2, axis=1)) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(segment_sums(phi, offsets), 0.0, atol=1e-12)


def test_raw_pca_is_scaled_on_the_globally_centred_rows_and_spends_dimensions_on_prompts() -> None:
    features, offsets, lengths = _pool()
    raw = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=3, pca="raw", length=False))
    within = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=3, length=False))
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    projected = (unit - unit.mean(axis=0)) @ raw.components * raw.scale
    assert np.mean(np.sum(projected**2, axis=1)) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(raw.mean, unit.mean(axis=0), atol=1e-12)
    assert raw.explained_pairs < within.explained_pairs
    phi = raw.transform(features, offsets, lengths)
    np.testing.assert_allclose(_pair_differences(phi, offsets), _pair_differences(projected, offsets), atol=1e-12)
    np.testing.assert_allclose(segment_sums(phi, offsets), 0.0, atol=1e-12)


@pytest.mark.parametrize("pca", ["within", "raw"])
def test_explained_pairs_is_the_share_of_squared_pair_differences_kept(pca: str) -> None:
    features, offsets, lengths = _pool()
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=3, normalize=False, pca=pca, length=False))
    full = _pair_differences(features.astype(np.float64), offsets)
    share = np.sum((full @ space.components) ** 2) / np.sum(full**2)
    assert space.explained_pairs == pytest.approx(share, rel=1e-12)


def test_a_prompt_shift_changes_nothing_without_normalising() -> None:
    features, offsets, lengths = _pool()
    exact = features.astype(np.float64)
    shift = np.repeat(np.random.default_rng(1).normal(size=(len(SIZES), 10)) * 100, SIZES, axis=0)
    chosen = SpaceSettings(dim=4, normalize=False)
    one = fit_space(exact, offsets, lengths, settings=chosen).transform(exact, offsets, lengths)
    two = fit_space(exact + shift, offsets, lengths, settings=chosen).transform(exact + shift, offsets, lengths)
    np.testing.assert_allclose(one, two, atol=1e-9)


def test_normalising_makes_the_space_blind_to_row_norms_and_keeps_zero_rows_zero() -> None:
    features, offsets, lengths = _pool()
    stretched = features.astype(np.float64) * np.random.default_rng(2).uniform(0.1, 10, (features.shape[0], 1))
    chosen = SpaceSettings(dim=4)
    one = fit_space(features.astype(np.float64), offsets, lengths, settings=chosen)
    two = fit_space(stretched, offsets, lengths, settings=chosen)
    np.testing.assert_allclose(
        one.transform(features, offsets, lengths), two.transform(stretched, offsets, lengths), atol=1e-6
    )
    features[3] = 0
    assert np.isfinite(
        fit_space(features, offsets, lengths, settings=chosen).transform(features, offsets, lengths)
    ).all()


def test_the_length_coordinate_is_log_length_centred_within_prompts_with_deviation_one_half() -> None:
    features, offsets, lengths = _pool()
    lengths[0] = 0  # an empty answer is valid
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=4))
    last = space.transform(features, offsets, lengths)[:, -1]
    assert space.dim == 5
    assert np.sqrt(np.mean(last**2)) == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(segment_sums(last, offsets), 0.0, atol=1e-12)
    logs = np.log(1 + lengths)
    difference = (last[1] - last[0]) / (logs[1] - logs[0])
    assert difference == pytest.approx((last[3] - last[2]) / (logs[3] - logs[2]), rel=1e-9)


def test_constant_lengths_leave_the_length_coordinate_out_and_say_so() -> None:
    features, offsets, _ = _pool()
    lengths = np.repeat(np.arange(len(SIZES)) * 10.0 + 5, SIZES)
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=4))
    assert space.dim == 4
    assert any("length coordinate left out" in note for note in space.notes)
    assert space.transform(features, offsets, lengths).shape == (features.shape[0], 4)


def test_a_dimension_beyond_the_rank_is_reduced_and_said() -> None:
    features, offsets, lengths = _pool()
    low = features[:, :3] @ np.random.default_rng(3).normal(size=(3, 10))
    space = fit_space(low, offsets, lengths, settings=SpaceSettings(dim=8, normalize=False, length=False))
    assert space.dim == 3
    assert any("reduced from 8 to 3" in note and "independent" in note for note in space.notes)
    wide = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=64, length=False))
    assert wide.dim == 10
    assert any("reduced from 64 to 10" in note for note in wide.notes)


@pytest.mark.parametrize("pca", ["within", "raw"])
@pytest.mark.parametrize("normalize", [True, False])
def test_identical_answers_everywhere_are_refused_in_words(pca: str, normalize: bool) -> None:
    features, offsets, lengths = _pool()
    chosen = SpaceSettings(pca=pca, normalize=normalize)  # type: ignore[arg-type]
    for same in (np.repeat(features[: len(SIZES)], SIZES, axis=0), np.zeros_like(features)):
        with pytest.raises(RepresentationError, match="do not differ between the responses of any prompt"):
            fit_space(same, offsets, lengths, settings=chosen)


def test_non_finite_features_wrong_shapes_and_wrong_widths_are_refused() -> None:
    features, offsets, lengths = _pool()
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=4))
    broken = features.copy()
    broken[7, 2] = np.nan
    with pytest.raises(RepresentationError, match=r"1 responses .*row 7"):
        fit_space(broken, offsets, lengths, settings=SpaceSettings())
    with pytest.raises(RepresentationError, match="offsets"):
        fit_space(features, offsets[:-1], lengths, settings=SpaceSettings())
    with pytest.raises(RepresentationError, match="lengths"):
        fit_space(features, offsets, lengths[:-1], settings=SpaceSettings())
    with pytest.raises(RepresentationError, match=r"9 columns .* fitted on 10"):
        space.transform(features[:, :9], offsets, lengths)


def test_a_pool_in_many_blocks_gives_the_space_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    features, offsets, lengths = _pool()
    for pca in ("within", "raw"):
        chosen = SpaceSettings(dim=4, pca=pca)  # type: ignore[arg-type]
        whole = fit_space(features, offsets, lengths, settings=chosen)
        with monkeypatch.context() as patch:
            patch.setattr("curation.representation.space._BLOCK", 6)  # prompts of 2 to 7 rows: some exceed a block
            parts = fit_space(features, offsets, lengths, settings=chosen)
            moved = parts.transform(features, offsets, lengths)
        np.testing.assert_allclose(moved, whole.transform(features, offsets, lengths), atol=1e-9)
        assert parts.explained_pairs == pytest.approx(whole.explained_pairs, rel=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_signs_are_fixed_so_that_each_component_has_its_largest_entry_positive(seed: int) -> None:
    features, offsets, lengths = _pool(seed=seed)
    components = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=5)).components
    assert np.all(components[np.abs(components).argmax(axis=0), np.arange(5)] > 0)


def test_saving_and_loading_gives_the_same_space_bit_for_bit(tmp_path: Path) -> None:
    features, offsets, lengths = _pool()
    space = fit_space(features, offsets, lengths, settings=SpaceSettings(dim=64, pca="raw"))
    space.save(tmp_path / "space.npz")
    loaded = Space.load(tmp_path / "space.npz")
    assert loaded.fingerprint == space.fingerprint
    assert loaded.settings == space.settings
    assert loaded.notes == space.notes
    assert loaded.notes
    assert loaded.explained_pairs == space.explained_pairs
    np.testing.assert_array_equal(loaded.components, space.components)
    np.testing.assert_array_equal(
        loaded.transform(features, offsets, lengths), space.transform(features, offsets, lengths)
    )
    with np.load(tmp_path / "space.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_the_fingerprint_tells_spaces_apart() -> None:
    features, offsets, lengths = _pool()
    prints = {
        fit_space(features, offsets, lengths, settings=chosen).fingerprint
        for chosen in (SpaceSettings(dim=4), SpaceSettings(dim=5), SpaceSettings(dim=4, length=False))
    }
    moved = features.copy()
    moved[0, 0] += 0.5
    prints.add(fit_space(moved, offsets, lengths, settings=SpaceSettings(dim=4)).fingerprint)
    assert len(prints) == 4


def test_a_missing_or_damaged_space_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepresentationError, match="does not exist"):
        Space.load(tmp_path / "space.npz")
    features, offsets, lengths = _pool()
    fit_space(features, offsets, lengths, settings=SpaceSettings(dim=4)).save(tmp_path / "space.npz")
    content = (tmp_path / "space.npz").read_bytes()
    for damaged in (b"", b"not a zip", content[: len(content) // 2]):
        (tmp_path / "space.npz").write_bytes(damaged)
        with pytest.raises(RepresentationError, match="not a readable space file"):
            Space.load(tmp_path / "space.npz")


@pytest.mark.parametrize("pca", ["within", "raw"])
def test_randomised_pca_explains_what_the_exact_one_does(pca: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n, p = 1200, 300
    rows = rng.standard_normal((n, p)) * np.arange(1, p + 1) ** -0.5
    offsets, lengths = np.arange(0, n + 1, 12), rng.integers(5, 400, n)
    chosen = SpaceSettings(dim=20, pca=pca)  # type: ignore[arg-type]
    exact = fit_space(rows, offsets, lengths, settings=chosen)
    monkeypatch.setattr(space_module, "EXACT_WORK", 0)
    quick = fit_space(rows, offsets, lengths, settings=chosen)
    assert any("randomised PCA" in note for note in quick.notes)
    assert not any("randomised" in note for note in exact.notes)
    assert quick.explained_variance_ratio.sum() == pytest.approx(exact.explained_variance_ratio.sum(), rel=1e-4)
    assert quick.explained_pairs == pytest.approx(exact.explained_pairs, rel=1e-3)
    np.testing.assert_allclose(quick.components.T @ quick.components, np.eye(20), atol=1e-10)
    overlap = np.linalg.svd(exact.components[:, :10].T @ quick.components, compute_uv=False)
    assert overlap.min() > 0.999
    again = fit_space(rows, offsets, lengths, settings=chosen)
    assert again.fingerprint == quick.fingerprint  # seeded: the same space every time


def test_randomised_pca_finds_the_rank_of_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((240, 7)) @ rng.standard_normal((7, 90))
    offsets, lengths = np.arange(0, 241, 8), rng.integers(5, 400, 240)
    monkeypatch.setattr(space_module, "EXACT_WORK", 0)
    found = fit_space(rows, offsets, lengths, settings=SpaceSettings(dim=30, normalize=False))
    assert found.components.shape[1] == 7
    assert found.explained_variance_ratio.sum() == pytest.approx(1.0)
