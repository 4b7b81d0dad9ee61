"""What is known before the first label: Lambda, the same for every criterion (docs/method.md section 2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.errors import DesignError

FLOOR = 1e-6  # of the largest Fisher eigenvalue: what a direction that does not matter counts in the prior's shape


def fisher_and_prior(
    geometry: Geometry,
    fisher: Tensor,
    *,
    ridge: float,
    kind: Literal["relative", "absolute"] = "relative",
    power: float = 0.0,
    previous: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The Fisher matrix on the geometry's device, and Lambda = ridge s P + previous, (d, d) each.

    s = tr(Sigma_uniform) / d (relative) or 1 (absolute). P = M^power scaled to trace d: theta ~ N(0, M^-power) up to
    scale. Power 0 is the identity, which a few dominating directions inflate for all; with power 1 each direction's
    prior is as large as what it matters.
    fisher: (d, d), symmetric. ridge: positive, without unit when relative. previous: (d, d) information of the labels
    already bought, n_prev Sigma_prev / n, so counted per label of this design. Raises DesignError.
    """
    if not ridge > 0:
        raise DesignError(f"ridge {ridge} is not positive; give a number above 0, as 1 (relative) or 1e-3 (absolute).")
    fisher = fisher.to(dtype=torch.float64, device=geometry.device)
    scale = 1.0
    if kind == "relative":
        scale = float(torch.trace(geometry.uniform_information())) / geometry.dim
        if scale <= 0:
            raise DesignError("all pairs have zero difference: no label can teach anything; check the features.")
    prior = ridge * scale * _shape(fisher, power)
    if previous is not None:
        previous = torch.as_tensor(previous, dtype=torch.float64, device=geometry.device)
        if previous.shape != prior.shape or not bool(torch.isfinite(previous).all()):
            raise DesignError(
                f"the information of earlier labels is {tuple(previous.shape)}, this space needs {tuple(prior.shape)}; "
                "earlier batches must be in the same space."
            )
        prior = prior + (previous + previous.T) / 2
    return fisher, prior


def _shape(fisher: Tensor, power: float) -> Tensor:
    """M^power (d, d), eigenvalues below FLOOR of the largest taken as that, scaled to trace d."""
    size = len(fisher)
    if power == 0:
        return torch.eye(size, dtype=torch.float64, device=fisher.device)
    values, vectors = torch.linalg.eigh((fisher + fisher.T) / 2)
    raised = values.clamp_min(FLOOR * float(values[-1])) ** power
    return (vectors * (raised * (size / float(raised.sum())))) @ vectors.T
