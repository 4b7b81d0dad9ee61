"""Classifiers that stand in for people: sentiment of a text, preference between two responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.experiments.training import PolicyError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TextScorer:
    """A linear score on words and word pairs (TF-IDF). accuracy: on labelled texts it was not fitted on."""

    vectorizer: Any
    weights: Array
    bias: float
    accuracy: float

    def __call__(self, texts: Sequence[str]) -> Array:
        """Scores, logits, (N,)."""
        return np.asarray(self.vectorizer.transform(texts) @ self.weights + self.bias)


def fit_sentiment(texts: Sequence[str], labels: Sequence[int], *, seed: int) -> TextScorer:
    """Logistic regression on labelled texts, a fifth of them held out for its accuracy. Raises PolicyError."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    if len(set(labels)) != 2 or len(texts) < 50:
        raise PolicyError(
            f"{len(texts)} texts with {len(set(labels))} label(s): a classifier needs 50 texts of 2 kinds."
        )
    order = np.random.default_rng(seed).permutation(len(texts))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    rows = vectorizer.fit_transform([texts[k] for k in kept])
    y = np.asarray(labels)
    model = LogisticRegression(C=4.0, max_iter=1000).fit(rows, y[kept])
    right = model.predict(vectorizer.transform([texts[k] for k in held])) == y[held]
    return TextScorer(vectorizer, np.asarray(model.coef_[0]), float(model.intercept_[0]), float(right.mean()))


def length_free(score: Callable[[Sequence[str]], Array], texts: Sequence[str]) -> Callable[[Sequence[str]], Array]:
    """A score without its liking for length: less its slope on log words, as least squares finds it on texts."""

    def words(some: Sequence[str]) -> Array:
        return np.log1p([len(text.split()) for text in some])

    length, value = words(texts), np.asarray(score(texts))
    spread = float(np.var(length))
    slope = float(np.cov(length, value, bias=True)[0, 1] / spread) if spread > 0 else 0.0
    middle = float(length.mean())
    return lambda some: np.asarray(score(some)) - slope * (words(some) - middle)


def fit_preference(
    better: Sequence[str], worse: Sequence[str], *, seed: int, chance: Sequence[float] | None = None
) -> TextScorer:
    """A reward linear in words, fitted on pairs by Bradley-Terry. chance: that `better` wins, default 1 each.

    accuracy: share of held-out pairs ordered rightly (a fifth of them).
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    if len(better) < 50:
        raise PolicyError(f"{len(better)} pairs are too few to fit a reward on; give 50 or more.")
    order = np.random.default_rng(seed).permutation(len(better))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    vectorizer = TfidfVectorizer(ngram_range=(1, 1), min_df=2, sublinear_tf=True)
    vectorizer.fit([text for k in kept for text in (better[k], worse[k])])

    def differences(which: np.ndarray) -> Any:
        return vectorizer.transform([better[k] for k in which]) - vectorizer.transform([worse[k] for k in which])

    p = np.ones(len(better)) if chance is None else np.asarray(chance, dtype=float)
    z = differences(kept)
    weights = np.concatenate([p[kept], 1 - p[kept]])
    y = np.repeat([1, 1], len(kept))  # both signs of every pair, so that there is no bias to learn
    both, target = (
        vstack([z, z, -z, -z]),
        np.concatenate([y[: len(kept)], 0 * y[: len(kept)], 0 * y[: len(kept)], y[: len(kept)]]),
    )
    model = LogisticRegression(C=4.0, max_iter=1000, fit_intercept=False)
    model.fit(both, target, sample_weight=np.concatenate([weights, weights]))
    sign = np.sign(p[held] - 0.5)
    margin = differences(held) @ model.coef_[0]
    decided = sign != 0
    accuracy = float(np.mean(np.where(margin == 0, 0.5, (margin > 0) == (sign > 0))[decided]))
    return TextScorer(vectorizer, np.asarray(model.coef_[0]), 0.0, accuracy)


@dataclass(frozen=True)
class HubSentiment:
    """A sentiment classifier of the hub, by name; the score is the logit of the positive class."""

    model: Any
    tokenizer: Any
    accuracy: float = float("nan")

    def __call__(self, texts: Sequence[str]) -> Array:
        """Scores, logits, (N,)."""
        import torch

        out = []
        with torch.no_grad():
            for start in range(0, len(texts), 64):
                rows = self.tokenizer(
                    list(texts[start : start + 64]), return_tensors="pt", padding=True, truncation=True
                ).to(self.model.device)
                logits = self.model(**rows).logits.float()
                out.append((logits[:, -1] - torch.logsumexp(logits[:, :-1], -1)).cpu().double().numpy())
        return np.concatenate(out) if out else np.zeros(0)


def hub_sentiment(name: str, *, device: str) -> HubSentiment:
    """A classifier whose last class is the positive one. Raises PolicyError where it cannot be had."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(name).to(device).eval()
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"classifier {name} cannot be loaded ({str(error).splitlines()[0]}); check the name and the network, or "
            "use --scale small, which fits one on the labels of --data."
        ) from None
    return HubSentiment(model, tokenizer)
