"""What a drawn batch holds: its information, and the criterion it reaches."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.selection.sampling import Batch
from curation.design.sets.feasible import Feasible


def realised(criterion: Criterion, feasible: Feasible, batch: Batch) -> float:
    """f of a drawn batch: every label counts 1 / n, n the planned budget."""
    return criterion.value(batch_information(feasible, batch))


def batch_information(feasible: Feasible, batch: Batch) -> Tensor:
    """Sigma of a drawn batch, copies / n on each pair. Returns (d, d)."""
    device = feasible.geometry.device
    weights = torch.as_tensor(batch.copies / feasible.labels, dtype=torch.float64, device=device)
    return feasible.geometry.information_of(torch.as_tensor(batch.pairs, device=device), weights)
