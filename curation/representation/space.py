"""From hidden states to the coordinates of the design: normalise, centre, rotate, scale, add length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from curation.errors import DesignError, RepresentationError
from curation.representation.segments import centre_within, check_offsets, spread_rows
from curation.settings import SpaceSettings, kept_space
from curation.system.arrays import ArraysError, finite_matrix, load_arrays

FORMAT = 1
LENGTH_DEVIATION = 0.5  # standard deviation of the length coordinate over the pool
RANK_TOLERANCE = 1e-12  # eigenvalues below this share of the largest are rounding, not data
EXACT_WORK = (
    3e11  # about the multiplications of N p^2 + 10 p^3 (some ten seconds on two cores) up to which PCA is exact
)
OVERSAMPLED = 16  # directions that the randomised PCA carries along beyond those asked for
ROUNDS = 12  # passes of the randomised PCA, at most
SETTLED = 1e-5  # relative change of the explained variance at which it stops
_BLOCK = 16_384  # rows centred at a time, so that float64 copies stay small


KEPT_MUCH, KEPT_SOME = 0.8, 0.3  # shares of the pairs' squared differences from which a space is called so


@dataclass(frozen=True)
class Space:
    """The map from features to the design's space, fitted once and kept with the batch (docs/method.md section 3)."""

    mean: NDArray[np.float64]  # (p,) mean row removed before fitting; zero for within-prompt PCA
    components: NDArray[np.float64]  # (p, k) orthonormal columns, by falling variance
    scale: float  # makes the mean squared norm of the fitted rows 1
    length_scale: float  # multiplies centred log(1 + characters); 0 when there is no length coordinate
    settings: SpaceSettings
    explained_variance_ratio: NDArray[np.float64]  # (k,) share of the responses' variance per component
    explained_pairs: float  # share of the pairs' summed squared difference that the components keep
    notes: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Coordinates of the space: components, plus one for length where there is one."""
        return int(self.components.shape[1]) + int(self.length_scale > 0)

    def sentence(self) -> str:
        """What the space keeps of the differences between answers, and what follows."""
        kept = self.explained_pairs
        if kept >= KEPT_MUCH:
            after = "little that tells answers apart is left out"
        elif kept >= KEPT_SOME:
            after = "the rest lies in many small directions, which the design does not see; more dimensions keep more"
        else:
            after = "most of what tells answers apart is left out: raise the PCA dimensions"
        return (
            f"{self.dim} numbers stand for each response and keep {kept:.0%} of the squared differences between the "
            f"answers of a prompt: {after}."
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits of everything that `transform` depends on."""
        digest = hashlib.sha256(json.dumps([FORMAT, asdict(self.settings), self.components.shape]).encode())
        for array in (self.components, self.mean, np.array([self.scale, self.length_scale])):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]

    def transform(self, features: ArrayLike, offsets: ArrayLike, lengths: ArrayLike) -> NDArray[np.float64]:
        """Coordinates (N, dim), centred within each prompt, of features (N, p) and lengths (N,) in characters.

        Raises RepresentationError when the shapes do not fit or a number is not finite.
        """
        matrix, bounds, characters = _checked(features, offsets, lengths)
        if matrix.shape[1] != self.components.shape[0]:
            raise RepresentationError(
                f"features have {matrix.shape[1]} columns but this space was fitted on {self.components.shape[0]}; "
                "use features of the same model, or fit a new space."
            )
        out = np.empty((matrix.shape[0], self.dim))
        k = self.components.shape[1]
        for rows, centred in _within_blocks(matrix, bounds, self.settings.normalize):
            # centring within the prompt cancels `mean`, for either kind of PCA
            out[rows, :k] = (centred @ self.components) * self.scale
        if self.length_scale > 0:
            out[:, k] = centre_within(np.log1p(characters), bounds) * self.length_scale
        return out

    def save(self, path: str | Path) -> None:
        """Write an npz file without pickles; `Space.load` gives back the same space, bit for bit."""
        head = {"format": FORMAT, "settings": asdict(self.settings), "notes": list(self.notes)}
        with Path(path).open("wb") as file:
            np.savez(
                file,
                head=np.array(json.dumps(head)),
                mean=self.mean,
                components=self.components,
                explained_variance_ratio=self.explained_variance_ratio,
                scalars=np.array([self.scale, self.length_scale, self.explained_pairs]),
            )

    @classmethod
    def load(cls, path: str | Path) -> Space:
        """Read what `save` wrote. Raises RepresentationError when it is missing, damaged, or of another format."""
        source = Path(path)
        if not source.is_file():
            raise RepresentationError(f"space file {source} does not exist; solve again to write one.")
        try:
            arrays = load_arrays(source, ("head", "mean", "components", "explained_variance_ratio", "scalars"))
            head = _head(arrays["head"])
            components = finite_matrix(arrays["components"], "components", None, None)
            mean = finite_matrix(arrays["mean"], "mean", len(components))
            ratio = finite_matrix(arrays["explained_variance_ratio"], "explained_variance_ratio", components.shape[1])
            scale, length_scale, explained = finite_matrix(arrays["scalars"], "scalars", 3).tolist()
            if scale <= 0 or length_scale < 0:
                raise ArraysError("a scale is not positive")
            return cls(
                mean=mean,
                components=components,
                scale=scale,
                length_scale=length_scale,
                settings=kept_space(head["settings"]),
                explained_variance_ratio=ratio,
                explained_pairs=explained,
                notes=tuple(head["notes"]),
            )
        except (OSError, ArraysError, DesignError) as error:
            raise RepresentationError(
                f"{source.name} is not a readable space file ({str(error)[:200]}); solve again to write one."
            ) from error


def _head(array: NDArray[Any]) -> dict[str, Any]:
    """Format, settings and notes of a space file. Raises ArraysError."""
    if array.shape != () or array.dtype.kind != "U":
        raise ArraysError("its head is not one text")
    try:
        head = json.loads(str(array))
    except (ValueError, RecursionError):
        raise ArraysError("its head is not JSON") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else None
        raise ArraysError(f"it has space format {found!r:.40}, this version reads {FORMAT}")
    notes = head.get("notes")
    if (
        not isinstance(head.get("settings"), dict)
        or not isinstance(notes, list)
        or not all(isinstance(note, str) for note in notes)
    ):
        raise ArraysError("its settings or notes are not what is written here")
    return head


def fit_space(features: ArrayLike, offsets: ArrayLike, lengths: ArrayLike, *, settings: SpaceSettings) -> Space:
    """Fit the space of a pool. features: (N, p); offsets: (P+1,); lengths: (N,) characters.

    PCA in float64 of the within-prompt centred rows (`pca="within"`) or of the globally centred ones (`pca="raw"`):
    exact, by the p x p second-moment matrix, up to EXACT_WORK, else randomised, and the notes say so. Raises
    RepresentationError when the shapes do not fit, a number is not finite, or no two responses of any prompt differ.
    """
    matrix, bounds, characters = _checked(features, offsets, lengths)
    n_rows, width = matrix.shape
    mean = np.zeros(width)
    if settings.pca == "raw":
        for rows in _blocks(bounds):
            mean += _unit_rows(matrix[rows], settings.normalize).sum(axis=0)
        mean /= n_rows
    asked = min(settings.dim, width)
    notes: list[str] = []
    if n_rows * width**2 + 10 * width**3 <= EXACT_WORK:
        moment = np.zeros((width, width))
        for _, centred in _centred_blocks(matrix, bounds, settings, mean):
            moment += centred.T @ centred
        moment /= n_rows
        total = float(np.trace(moment))
        values, vectors = scipy.linalg.eigh(moment, subset_by_index=[width - asked, width - 1])
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        values, vectors, total, rounds = _randomised(
            lambda: (centred for _, centred in _centred_blocks(matrix, bounds, settings, mean)), n_rows, width, asked
        )
        notes.append(
            f"randomised PCA ({rounds} passes, seed 0): {n_rows:,} x {width:,} features are many for the exact one."
        )
    rank = max(int(np.sum(values > RANK_TOLERANCE * values[0])), 1)
    components = _fix_signs(np.ascontiguousarray(vectors[:, :rank]))
    explained_pairs = _pairs_kept(matrix, bounds, settings.normalize, components)
    if rank < settings.dim:
        rule = (
            "the features have no more columns" if rank == width else "the features have no more independent directions"
        )
        notes.append(f"dimension reduced from {settings.dim} to {rank}: {rule}.")
    kept = values[:rank]

    length_scale = 0.0
    if settings.length:
        deviation = float(np.sqrt(np.mean(centre_within(np.log1p(characters), bounds) ** 2)))
        if deviation > 1e-12:
            length_scale = LENGTH_DEVIATION / deviation
        else:
            notes.append("length coordinate left out: the responses of each prompt are equally long.")
    return Space(
        mean=mean,
        components=components,
        scale=float(1.0 / np.sqrt(kept.sum())),
        length_scale=length_scale,
        settings=settings,
        explained_variance_ratio=kept / total,
        explained_pairs=explained_pairs,
        notes=tuple(notes),
    )


def _randomised(
    blocks: Callable[[], Iterable[NDArray[np.float64]]], n_rows: int, width: int, asked: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, int]:
    """The `asked` largest eigenvalues, falling, and eigenvectors (p, asked) of the second moment of streamed rows.

    Returns them with the trace and the number of passes. Block Krylov from a seeded start (Musco and Musco 2015): each
    pass multiplies one block of directions by the moment, without forming it; the answer is the best in the span of
    all blocks. Stops when what the asked directions explain no longer grows.
    """
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((width, min(asked + OVERSAMPLED, width))))[0]
    basis, image = np.zeros((width, 0)), np.zeros((width, 0))
    total = last = 0.0
    rounds = 0
    while True:
        rounds += 1
        product = np.zeros_like(block)
        for centred in blocks():
            product += centred.T @ (centred @ block)
            if rounds == 1:
                total += float(np.einsum("ij,ij->", centred, centred)) / n_rows
        product /= n_rows
        basis, image = np.hstack([basis, block]), np.hstack([image, product])
        small = basis.T @ image
        values, turn = scipy.linalg.eigh((small + small.T) / 2)
        explained = float(values[-asked:].sum())
        room = width - basis.shape[1]
        if explained - last <= SETTLED * explained or rounds == ROUNDS or not room or not block.shape[1]:
            return values[::-1][:asked], (basis @ turn)[:, ::-1][:, :asked], total, rounds
        last = explained
        block, size = product, float(np.linalg.norm(product))
        for _ in range(2):  # twice is enough
            block = block - basis @ (basis.T @ block)
            block, triangle = np.linalg.qr(block)
            block = block[:, np.abs(np.diag(triangle)) > RANK_TOLERANCE * size][:, :room]
            size = 1.0


def _pairs_kept(
    matrix: NDArray[Any], offsets: NDArray[np.int64], normalize: bool, components: NDArray[np.float64]
) -> float:
    """Share of the squared differences, summed over all pairs of every prompt, that the components keep.

    The pairs of K rows have summed squared difference K sum_i |row_i - mean|^2, so no pair is built. Raises
    RepresentationError when the differences are no larger than rounding.
    """
    full = kept = 0.0
    sizes = spread_rows(np.diff(offsets).astype(np.float64), offsets)
    largest = 0.0
    for rows, centred in _within_blocks(matrix, offsets, normalize):
        full += float(sizes[rows] @ np.einsum("ij,ij->i", centred, centred))
        projected = centred @ components
        kept += float(sizes[rows] @ np.einsum("ij,ij->i", projected, projected))
        largest = max(largest, float(np.abs(matrix[rows]).max()) if not normalize else 1.0)
    if full <= RANK_TOLERANCE * largest**2 * float(sizes.sum()):
        raise RepresentationError(
            "the features do not differ between the responses of any prompt, so there is nothing to compare; "
            "use another model or layer, or check that the features belong to the responses."
        )
    return min(kept / full, 1.0)


def _checked(
    features: ArrayLike, offsets: ArrayLike, lengths: ArrayLike
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    matrix = np.asarray(features)
    characters = np.asarray(lengths, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 1:
        raise RepresentationError(f"features of shape {matrix.shape} are not a matrix; give one row per response.")
    bounds = check_offsets(offsets, matrix.shape[0])
    if characters.shape != (matrix.shape[0],):
        raise RepresentationError(f"{characters.size} lengths for {matrix.shape[0]} responses; give one per response.")
    bad = ~np.isfinite(matrix).all(axis=1)
    if bad.any():
        raise RepresentationError(
            f"{int(bad.sum())} responses have features that are not finite (first: row {int(np.argmax(bad))}); "
            "extract the features again."
        )
    if not (np.isfinite(characters).all() and np.all(characters >= 0)):
        raise RepresentationError("a response length is negative or not finite; give characters, 0 or more.")
    return matrix, bounds, characters


def _blocks(offsets: NDArray[np.int64]) -> Iterator[slice]:
    """Row ranges of whole prompts, about _BLOCK rows each."""
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + _BLOCK, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(int(offsets[start]), int(offsets[stop]))
        start = stop


def _within_blocks(
    matrix: NDArray[Any], offsets: NDArray[np.int64], normalize: bool
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for rows in _blocks(offsets):
        first, last = np.searchsorted(offsets, [rows.start, rows.stop])
        local = offsets[first : last + 1] - rows.start
        yield rows, centre_within(_unit_rows(matrix[rows], normalize), local)


def _centred_blocks(
    matrix: NDArray[Any], offsets: NDArray[np.int64], settings: SpaceSettings, mean: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    if settings.pca == "within":
        yield from _within_blocks(matrix, offsets, settings.normalize)
        return
    for rows in _blocks(offsets):
        yield rows, _unit_rows(matrix[rows], settings.normalize) - mean


def _unit_rows(rows: NDArray[Any], normalize: bool) -> NDArray[np.float64]:
    """Rows as float64, each divided by its L2 norm when asked; zero rows stay zero."""
    exact = np.asarray(rows, dtype=np.float64)
    if not normalize:
        return exact
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.asarray(np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0), dtype=np.float64)


def _fix_signs(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column with its largest entry positive, so that a refit gives the same signs."""
    largest = np.abs(components).argmax(axis=0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.asarray(components * signs, dtype=np.float64)
