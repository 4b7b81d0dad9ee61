"""Small designs with everything drawn at random."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curation.design.geometry import Geometry


def graph(seed: int, *, prompts: int = 6, dim: int = 4, listed: float = 0.3, largest: int = 6) -> Geometry:
    """Prompts of mixed size; some offer only a random list of their pairs."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, largest + 1, size=prompts)
    edges: list[np.ndarray | None] = []
    for size in sizes:
        every = np.stack(np.triu_indices(size, k=1), axis=1)
        if rng.random() < listed:
            kept = np.sort(rng.choice(len(every), size=rng.integers(1, len(every) + 1), replace=False))
            edges.append(every[kept])
        else:
            edges.append(None)
    rows = rng.standard_normal((int(sizes.sum()), dim)) * np.arange(1, dim + 1) ** -0.7
    weights = rng.uniform(0.5, 2.0, size=prompts)
    return Geometry(rows, np.concatenate([[0], np.cumsum(sizes)]), prompt_weights=weights, edges=edges)


def fisher_of(geometry: Geometry) -> torch.Tensor:
    rows = geometry.features.numpy()
    return torch.as_tensor(np.cov(rows.T).reshape(geometry.dim, geometry.dim))


class Largest(TorchDispatchMode):
    """Entries of the largest tensor any operation makes."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                own = tensor.untyped_storage().nbytes() // tensor.element_size()  # views and broadcasts cost nothing
                self.entries = max(self.entries, own)
        return out
