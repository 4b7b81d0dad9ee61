"""What a label is worth to each constraint: the thresholds that chosen pairs pass and others do not.

Source: docs/method.md section 9.
"""

from __future__ import annotations

import torch
from torch import Tensor

from curation.design.sets.chosen import Chosen
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise_by_columns
from curation.design.sets.multipliers import Multipliers


def multipliers_at(feasible: Feasible, weights: Tensor, values: Tensor) -> Multipliers:
    """Multipliers of the constraints at a design (pairs,) with q = values (pairs,).

    From the pairs chosen in part; where a prompt has none, from the worst pair it takes whole. Where sums overlap, from
    the linear program at q. Exact at the optimum up to its freedom.
    """
    if not feasible.laminar:
        return maximise_by_columns(feasible, values)[3]
    support = weights.nonzero().squeeze(1)
    support = support[~feasible.blocked[support]]
    w = weights[support]
    prompt = torch.as_tensor(feasible.geometry.prompt_of(support), device=values.device)
    worth, partial = feasible.per_spend(values[support], support), w < feasible.upper * (1 - 1e-9)
    chosen = Chosen(prompt, w, feasible.spend(w, support), worth, partial)
    return Multipliers(*feasible.spread.multipliers(feasible, chosen), {})
