"""The reference policy as far as the features tell it: log-probabilities regressed on the features, then a softmax."""

from __future__ import annotations

from dataclasses import replace

from curation.errors import RepresentationError
from curation.representation.fisher.base import Given, Kind, Probabilities, softmaxed

RIDGE_SHARE = 1e-3  # ridge of the regression, as a share of the mean variance per coordinate
MIN_EFFECTIVE = 2.0  # unasked it wants at least this many effective candidates in the median prompt


def probabilities(given: Given) -> Probabilities:
    """Softmax of phi theta_0, theta_0 the ridge regression (ridge 1e-3 trace/d) of the within-prompt centred
    log-probabilities on the within-prompt centred phi."""
    import numpy as np
    import scipy.linalg

    from curation.representation.left_out import left_out
    from curation.representation.segments import centre_within

    centred = centre_within(given.phi, given.offsets)
    target = centre_within(given.logprob, given.offsets)
    gram = centred.T @ centred
    d = gram.shape[0]
    ridge = RIDGE_SHARE * float(np.trace(gram)) / d
    if ridge <= 0:
        raise RepresentationError(
            "the features do not differ within any prompt, so log-probabilities cannot be regressed on them; "
            "use --fisher uniform or other features."
        )
    theta = scipy.linalg.solve(gram + ridge * np.eye(d), centred.T @ target, assume_a="pos")
    seen = left_out(given.phi, given.offsets, given.logprob, given.n_tokens, ridge_share=RIDGE_SHARE)
    share = "they do not differ within prompts" if seen is None else seen.clause()
    found = softmaxed("reference", given, centred @ theta, f"log-probabilities regressed on the features; {share}")
    return replace(found, fit_r2=None if seen is None else seen.features)


def unasked(given: Given, because: str) -> Probabilities | str:
    """Only where the median prompt has several candidates that count."""
    import numpy as np

    found = probabilities(given)
    median = float(np.median(found.effective))
    if median >= MIN_EFFECTIVE:
        return found
    return (
        f"the reference would rest on {median:.2f} effective candidates in the median prompt (rule: at least "
        f"{MIN_EFFECTIVE:g})"
    )


PLUG = Kind(name="reference", rank=10, probabilities=probabilities, unasked=unasked, needs_logprobs=True)
