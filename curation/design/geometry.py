"""The comparison graph: candidates are vertices, pairs are edges, and no (pairs, d) array is ever built.

Quadratic forms of all pairs come from one Gram matrix per prompt, the information matrix from one weighted graph
Laplacian per prompt (docs/method.md section 5). Prompts are processed in buckets of equal size, so nothing is padded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from curation.design.buckets import Bucket
from curation.errors import DesignError

CHUNK_ENTRIES = 2_000_000  # entries of one block of Gram matrices, to bound memory
CHUNK_ROWS = 32_768  # rows of one block where vectors of pairs are formed


class Geometry:
    """Candidates in the design's space and the pairs that may be compared.

    features: (N, d) rows, prompt by prompt. offsets: (P + 1,) row where each prompt starts. prompt_weights: (P,),
    scaled to sum 1. edges: per prompt None (complete graph) or (E_x, 2) local candidate numbers with i < j.
    single: whether solvers may price pairs in float32 until they are near the end (default: on a GPU). factor: (pairs,)
    positive information of a label of each pair, default one (see `with_factor`). Pairs are numbered prompt by prompt,
    lexicographically. Raises DesignError on inconsistent shapes.
    """

    def __init__(
        self,
        features: np.ndarray | Tensor,
        offsets: np.ndarray,
        *,
        prompt_weights: np.ndarray | None = None,
        edges: Sequence[np.ndarray | None] | None = None,
        device: str = "cpu",
        single: bool | None = None,
        factor: np.ndarray | Tensor | None = None,
    ) -> None:
        self.features: Tensor = torch.as_tensor(features, dtype=torch.float64, device=device).contiguous()
        self.offsets = np.asarray(offsets, dtype=np.int64)
        self.device = device
        self.single = device.startswith("cuda") if single is None else single
        if self.features.ndim != 2 or self.offsets[-1] != self.features.shape[0] or self.offsets[0] != 0:
            raise DesignError("features and offsets disagree: the last offset must be the number of rows.")
        self.sizes = np.diff(self.offsets)
        self.prompts = len(self.sizes)
        weights = np.ones(self.prompts) if prompt_weights is None else np.asarray(prompt_weights, dtype=float)
        if weights.shape != (self.prompts,) or not np.all(weights > 0):
            raise DesignError("prompt weights must be positive, one per prompt.")
        self.prompt_weights = weights / weights.sum()
        self._edges: list[np.ndarray | None] = list(edges) if edges is not None else [None] * self.prompts
        complete = self.sizes * (self.sizes - 1) // 2
        for x, listed in enumerate(self._edges):
            if listed is not None and len(listed) == complete[x]:
                every = np.stack(np.triu_indices(int(self.sizes[x]), k=1), axis=1)
                if np.array_equal(listed, every):
                    self._edges[x] = None
        self.pair_counts = np.array(
            [complete[x] if e is None else len(e) for x, e in enumerate(self._edges)], dtype=np.int64
        )
        self.pair_offsets = np.concatenate([[0], np.cumsum(self.pair_counts)])
        self.pairs = int(self.pair_offsets[-1])
        self.buckets = self._make_buckets()
        self.factor: Tensor | None = None
        self.amplitude: Tensor | None = None  # square root of the factor: what it does to a pair's vector
        self._set_factor(factor)

    def _set_factor(self, factor: np.ndarray | Tensor | None) -> None:
        self.factor = self.amplitude = None
        if factor is None:
            return
        given = torch.as_tensor(factor, dtype=torch.float64, device=self.device)
        if given.shape != (self.pairs,):
            raise DesignError(f"factors of shape {tuple(given.shape)} for {self.pairs} pairs; give one per pair.")
        if not bool((torch.isfinite(given) & (given > 0)).all()):
            raise DesignError(
                "information factors must be positive and finite: a pair that teaches nothing is excluded."
            )
        self.factor, self.amplitude = given, given.sqrt()

    def with_factor(self, factor: np.ndarray | Tensor | None) -> Geometry:
        """The same graph where a label of pair e carries factor_e z_e z_e'; nothing is copied.

        factor: (pairs,), positive, or None for none. `quadratic`, `linear`, `vectors` and the information matrices are
        then those of the sensitivity sqrt(factor_e) z_e; `differences`, `plain` and all values per candidate stay raw.
        Source: docs/method.md section 11.
        """
        other = copy.copy(self)
        other._set_factor(factor)
        return other

    @property
    def plain(self) -> Geometry:
        """The same geometry without factors: what distances, maps and the meaning of directions are made of."""
        return self if self.factor is None else self.with_factor(None)

    def over(self, coordinates: np.ndarray | Tensor) -> Geometry:
        """The same graph over other coordinates of the candidates, (N, k), without factors. Raises DesignError."""
        given = torch.as_tensor(coordinates, dtype=torch.float64, device=self.device).contiguous()
        if given.ndim != 2 or given.shape[0] != self.features.shape[0]:
            raise DesignError(f"coordinates of shape {tuple(given.shape)} for {self.features.shape[0]} candidates.")
        other = self.with_factor(None)
        other.__dict__.pop("_features_single", None)
        other.features = given
        return other

    @cached_property
    def pair_counts_tensor(self) -> Tensor:
        """(P,) number of pairs of each prompt, on the device."""
        return torch.as_tensor(self.pair_counts, device=self.device)

    @property
    def dim(self) -> int:
        """Dimension d of the space."""
        return int(self.features.shape[1])

    def _make_buckets(self) -> list[Bucket]:
        restricted = np.array([e is not None for e in self._edges], dtype=bool)
        buckets = []
        for size in np.unique(self.sizes):
            for is_restricted in (False, True):
                chosen = np.flatnonzero((self.sizes == size) & (restricted == is_restricted) & (self.pair_counts > 0))
                if not len(chosen):
                    continue
                first, second = np.triu_indices(int(size), k=1)
                rows = self.offsets[chosen][:, None] + np.arange(size)[None, :]
                kept = None
                if is_restricted:
                    kept = self._kept_positions(chosen, int(size))
                buckets.append(
                    Bucket(
                        size=int(size),
                        prompts=chosen,
                        rows=torch.as_tensor(rows, device=self.device),
                        first=torch.as_tensor(first, device=self.device),
                        second=torch.as_tensor(second, device=self.device),
                        slots=torch.as_tensor(self.pair_offsets[chosen], device=self.device),
                        kept=kept,
                    )
                )
        return buckets

    def _kept_positions(self, chosen: np.ndarray, size: int) -> tuple[Tensor, Tensor, Tensor]:
        blocks, positions, numbers = [], [], []
        for block, x in enumerate(chosen):
            listed = np.asarray(self._edges[x], dtype=np.int64)
            i, j = listed[:, 0], listed[:, 1]
            if np.any(i >= j) or np.any(j >= size) or np.any(i < 0):
                raise DesignError(f"prompt number {x}: listed pairs must be i < j within its {size} candidates.")
            local = i * (2 * size - i - 1) // 2 + (j - i - 1)
            if np.any(np.diff(local) <= 0):
                raise DesignError(f"prompt number {x}: listed pairs must be sorted and unique.")
            blocks.append(np.full(len(local), block))
            positions.append(local)
            numbers.append(self.pair_offsets[x] + np.arange(len(local)))
        as_tensor = [torch.as_tensor(np.concatenate(part), device=self.device) for part in (blocks, positions, numbers)]
        return as_tensor[0], as_tensor[1], as_tensor[2]

    def _chunks(self, bucket: Bucket) -> Iterator[slice]:
        step = max(1, CHUNK_ENTRIES // (bucket.size * max(bucket.size, self.dim)))
        for start in range(0, len(bucket.prompts), step):
            yield slice(start, min(start + step, len(bucket.prompts)))

    def _scatter(self, bucket: Bucket, part: slice, values: Tensor, out: Tensor) -> None:
        """Write values (b, T) of a bucket's part to the flat pair vector."""
        if bucket.kept is not None:
            block, position, number = _inside(bucket.kept, part)
            out[number] = values[block, position]
            return
        slots = bucket.slots[part]
        pairs = values.shape[1]
        begin = int(slots[0])
        if int(slots[-1]) - begin == (len(slots) - 1) * pairs:  # consecutive prompts: one copy, no index
            out[begin : begin + len(slots) * pairs] = values.reshape(-1)
        else:
            out[(slots[:, None] + torch.arange(pairs, device=self.device)).reshape(-1)] = values.reshape(-1)

    def gather(self, bucket: Bucket, part: slice, values: Tensor, *, fill: float) -> Tensor:
        """Pair values (pairs,) of a bucket's part as (b, T); `fill` where a pair is not admissible."""
        slots = bucket.slots[part]
        if bucket.kept is not None:
            block, position, number = _inside(bucket.kept, part)
            out = torch.full((len(slots), len(bucket.first)), fill, dtype=values.dtype, device=self.device)
            out[block, position] = values[number]
            return out
        pairs = len(bucket.first)
        begin = int(slots[0])
        if int(slots[-1]) - begin == (len(slots) - 1) * pairs:
            return values[begin : begin + len(slots) * pairs].view(len(slots), pairs)
        return values[slots[:, None] + torch.arange(pairs, device=self.device)]

    def best_pairs(self, bucket: Bucket, part: slice, block: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Values and pair numbers, (b, depth) each, of the largest entries per prompt of a gathered block (b, T)."""
        top = block.topk(min(depth, block.shape[1]), dim=1)
        if bucket.kept is None:
            return top.values, bucket.slots[part][:, None] + top.indices
        lookup = torch.zeros(block.shape, dtype=torch.int64, device=self.device)
        kept = _inside(bucket.kept, part)
        lookup[kept[0], kept[1]] = kept[2]
        return top.values, lookup.gather(1, top.indices)

    def parts(self) -> Iterator[tuple[Bucket, slice]]:
        """Every bucket in memory-bounded parts."""
        for bucket in self.buckets:
            for part in self._chunks(bucket):
                yield bucket, part

    @cached_property
    def _features_single(self) -> Tensor:
        return self.features.to(torch.float32)

    def quadratic(self, root: Tensor, *, single: bool = False) -> Tensor:
        """z' R R' z of every pair, times its factor, one structured pass. root: R (d, k). Returns (pairs,).

        docs/method.md section 5.

        single: compute in float32 (the values are float64 all the same); never for a certificate.
        """
        out = torch.empty(self.pairs, dtype=torch.float64, device=self.device)
        features = self._features_single if single else self.features
        root = root.to(features.dtype)
        edges_only = all(bucket.size == 2 for bucket in self.buckets)
        projected = features[:0] if edges_only else features @ root
        for bucket, part in self.parts():
            rows = bucket.rows[part]
            if bucket.size == 2:  # one edge a prompt: differences first halve the work
                values = ((features[rows[:, 0]] - features[rows[:, 1]]) @ root).square().sum(1, keepdim=True)
            else:
                block = projected[rows]
                gram = block @ block.transpose(1, 2)
                norms = gram.diagonal(dim1=1, dim2=2)
                flat = gram.flatten(1)[:, bucket.first * bucket.size + bucket.second]
                values = (norms[:, bucket.first] + norms[:, bucket.second] - 2 * flat).clamp_min_(0)
            self._scatter(bucket, part, values.to(torch.float64), out)
        return out if self.factor is None else out.mul_(self.factor)

    def linear(self, direction: Tensor) -> Tensor:
        """direction' z of every pair, times the square root of its factor. direction: (d,). Returns (pairs,)."""
        out = self.difference(self.features @ direction)
        return out if self.amplitude is None else out.mul_(self.amplitude)

    def difference(self, potential: Tensor) -> Tensor:
        """potential_i - potential_j of every pair, for a value per candidate. potential: (N,). Returns (pairs,)."""
        out = torch.zeros(self.pairs, dtype=potential.dtype, device=self.device)
        for bucket, part in self.parts():
            block = potential[bucket.rows[part]]
            self._scatter(bucket, part, block[:, bucket.first] - block[:, bucket.second], out)
        return out

    def sums(self, potential: Tensor) -> Tensor:
        """potential_i + potential_j of every pair, for a value per candidate. potential: (N,). Returns (pairs,)."""
        out = torch.zeros(self.pairs, dtype=potential.dtype, device=self.device)
        for bucket, part in self.parts():
            block = potential[bucket.rows[part]]
            self._scatter(bucket, part, block[:, bucket.first] + block[:, bucket.second], out)
        return out

    def product(self, value: Tensor) -> Tensor:
        """value_i value_j of every pair, for a value per candidate. value: (N,). Returns (pairs,)."""
        out = torch.zeros(self.pairs, dtype=value.dtype, device=self.device)
        for bucket, part in self.parts():
            block = value[bucket.rows[part]]
            self._scatter(bucket, part, block[:, bucket.first] * block[:, bucket.second], out)
        return out

    def information(self, weights: Tensor) -> Tensor:
        """Sum over pairs of w_e z_e z_e' as Phi' L Phi with L the graph Laplacian of w (times the factors, if any).

        weights: (pairs,). Few positive weights are summed directly, in blocks of rows. Returns (d, d).
        """
        support = weights.nonzero().squeeze(1)
        if len(support) <= min(4 * CHUNK_ROWS, max(1, self.features.shape[0])):
            return self.information_of(support, weights[support])
        return self._laplacian_information(weights)

    def _laplacian_information(self, weights: Tensor) -> Tensor:
        out = torch.zeros(self.dim, self.dim, dtype=torch.float64, device=self.device)
        weights = weights if self.factor is None else weights * self.factor
        for bucket, part in self.parts():
            values = self.gather(bucket, part, weights, fill=0.0)
            size = bucket.size
            if size == 2:
                rows = bucket.rows[part]
                z = self.features[rows[:, 0]] - self.features[rows[:, 1]]
                out += z.T @ (z * values)
                continue
            laplacian = torch.zeros(len(values), size * size, dtype=torch.float64, device=self.device)
            laplacian[:, bucket.first * size + bucket.second] = -values
            laplacian = laplacian.view(-1, size, size)
            laplacian = laplacian + laplacian.transpose(1, 2)
            laplacian.diagonal(dim1=1, dim2=2).copy_(-laplacian.sum(2))
            block = self.features[bucket.rows[part]]
            out += block.flatten(0, 1).T @ (laplacian @ block).flatten(0, 1)
        return (out + out.T) / 2

    def information_of(self, pairs: Tensor, weights: Tensor) -> Tensor:
        """Sum of w_e z_e z_e' over a few pairs, with their factors. pairs, weights: (m,). Returns (d, d)."""
        out = torch.zeros(self.dim, self.dim, dtype=torch.float64, device=self.device)
        for start in range(0, len(pairs), CHUNK_ROWS):
            z = self.vectors(pairs[start : start + CHUNK_ROWS])
            out += z.T @ (z * weights[start : start + CHUNK_ROWS, None])
        return (out + out.T) / 2

    def uniform_information(self) -> Tensor:
        """Information per label of drawing any admissible pair with equal chance. Returns (d, d)."""
        weights = torch.full((self.pairs,), 1.0 / self.pairs, dtype=torch.float64, device=self.device)
        return self.information(weights)

    def prompt_of(self, pairs: np.ndarray | Tensor) -> np.ndarray:
        """Prompt number of each pair number. Returns (m,)."""
        numbers = pairs.cpu().numpy() if isinstance(pairs, Tensor) else np.asarray(pairs)
        return np.searchsorted(self.pair_offsets, numbers, side="right") - 1

    def endpoints(self, pairs: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Rows (i, j) of the feature matrix that each pair compares. Returns two (m,) arrays."""
        numbers = pairs.cpu().numpy() if isinstance(pairs, Tensor) else np.asarray(pairs, dtype=np.int64)
        prompt = self.prompt_of(numbers)
        local = numbers - self.pair_offsets[prompt]
        size = self.sizes[prompt]
        i = np.zeros(len(numbers), dtype=np.int64)
        j = np.zeros(len(numbers), dtype=np.int64)
        starts, edges = self._listed_edges
        listed = starts[prompt] >= 0
        if listed.any():
            i[listed], j[listed] = edges[starts[prompt[listed]] + local[listed]].T
        t, k = local[~listed], size[~listed]
        twice = 2 * k - 1
        left = np.floor((twice - np.sqrt(twice.astype(float) ** 2 - 8.0 * t)) / 2).astype(np.int64)
        left -= (left * (2 * k - left - 1) // 2 > t).astype(np.int64)  # guard the square root's rounding
        left += ((left + 1) * (2 * k - left - 2) // 2 <= t).astype(np.int64)
        i[~listed] = left
        j[~listed] = t - left * (2 * k - left - 1) // 2 + left + 1
        base = self.offsets[prompt]
        return base + i, base + j

    @cached_property
    def _listed_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each prompt's list starts, (P,), -1 without one, and all lists one after the other, (E, 2)."""
        starts = np.full(self.prompts, -1, dtype=np.int64)
        lists, count = [np.zeros((0, 2), dtype=np.int64)], 0
        for x, edges in enumerate(self._edges):
            if edges is not None:
                starts[x] = count
                lists.append(np.asarray(edges, dtype=np.int64).reshape(-1, 2))
                count += len(edges)
        return starts, np.concatenate(lists)

    def number(self, prompt: int, i: int, j: int) -> int | None:
        """Pair number of local candidates i < j of a prompt, or None where the pair is not admissible."""
        listed = self._edges[prompt]
        if listed is not None:
            hit = np.flatnonzero((listed[:, 0] == i) & (listed[:, 1] == j))
            return int(self.pair_offsets[prompt] + hit[0]) if len(hit) else None
        size = int(self.sizes[prompt])
        if not 0 <= i < j < size:
            return None
        return int(self.pair_offsets[prompt] + i * (2 * size - i - 1) // 2 + (j - i - 1))

    def vectors(self, pairs: np.ndarray | Tensor) -> Tensor:
        """Sensitivities sqrt(factor_e) z_e of a few pairs (the master's columns, a batch). Returns (m, d)."""
        z = self.differences(pairs)
        if self.amplitude is None:
            return z
        return z * self.amplitude[torch.as_tensor(pairs, dtype=torch.int64, device=self.device)][:, None]

    def differences(self, pairs: np.ndarray | Tensor) -> Tensor:
        """z_e = phi_i - phi_j of a few pairs, whatever their factors. Returns (m, d)."""
        i, j = self.endpoints(pairs)
        rows = torch.as_tensor(np.stack([i, j]), device=self.device)
        return self.features[rows[0]] - self.features[rows[1]]


def _inside(kept: tuple[Tensor, Tensor, Tensor], part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The listed pairs of a part of a bucket, their prompts counted from its start."""
    block, position, number = kept
    edges = torch.tensor([part.start, part.stop], dtype=torch.int64, device=block.device)
    low, high = torch.searchsorted(block, edges).tolist()
    return block[low:high] - part.start, position[low:high], number[low:high]
