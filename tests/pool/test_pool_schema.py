"""The pool's data types: what identifies a pool, what a raw row must look like."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from curation.pool.schema import (
    CanonicalRow,
    Pool,
    Prompt,
    Response,
    as_identifier,
    content_id,
    is_outcome,
    pair_id,
    plain_reason,
    prompt_text,
)


def small_pool() -> Pool:
    first = Prompt("p1", "Why?", (Response("a", "Because."), Response("b", "No.", reference_logprob=-2.5)), weight=1.0)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    three = (Response("a", "one"), Response("b", "two!"), Response("c", ""))
    second = Prompt("p2", messages, three, pairs=((0, 2), (1, 2)), stratum="chat", weight=3.0)
    return Pool((first, second), name="small")


def test_flat_order_runs_prompt_by_prompt() -> None:
    pool = small_pool()
    assert pool.ids() == [("p1", "a"), ("p1", "b"), ("p2", "a"), ("p2", "b"), ("p2", "c")]
    assert pool.offsets().tolist() == [0, 2, 5]
    assert pool.lengths().tolist() == [8, 3, 3, 4, 0]
    assert (pool.n_responses, pool.n_pairs) == (5, 3)
    np.testing.assert_allclose(pool.prompt_weights(), [0.25, 0.75])
    logprobs = pool.reference_logprobs()
    assert logprobs[1] == -2.5
    assert np.isnan(logprobs[[0, 2, 3, 4]]).all()


def test_edges_are_none_for_a_complete_graph_and_an_array_otherwise() -> None:
    complete, given = small_pool().edges()
    assert complete is None
    assert given is not None
    assert given.tolist() == [[0, 2], [1, 2]]


def test_huge_prompt_weights_still_sum_to_one() -> None:
    prompts = tuple(replace(prompt, weight=1e308) for prompt in small_pool().prompts)
    np.testing.assert_allclose(Pool(prompts).prompt_weights(), [0.5, 0.5])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Why not?"},
        {"prompt_id": "p9"},
        {"pairs": ((0, 1),)},
        {"weight": 2.0},
        {"stratum": "s"},
        {"meta": {"k": 1}},
        {"responses": (Response("a", "Because!"), Response("b", "No.", reference_logprob=-2.5))},
        {"responses": (Response("a", "Because."), Response("b", "No."))},
        {"responses": (Response("b", "No.", reference_logprob=-2.5), Response("a", "Because."))},
    ],
)
def test_fingerprint_changes_with_any_content(change: dict[str, Any]) -> None:
    pool = small_pool()
    changed = Pool((replace(pool.prompts[0], **change), pool.prompts[1]))
    assert changed.fingerprint != pool.fingerprint


def test_fingerprint_ignores_the_name_and_has_sixteen_hex_digits() -> None:
    pool = small_pool()
    assert replace(pool, name="other").fingerprint == pool.fingerprint
    assert len(pool.fingerprint) == 16
    int(pool.fingerprint, 16)


def test_pair_id_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"p\x1fa\x1fb").hexdigest()[:16]
    assert pair_id("p", "a", "b") == expected
    assert pair_id("p", "b", "a") != expected


def test_content_id_is_twelve_hex_digits_of_sha256() -> None:
    assert content_id("Grüße") == hashlib.sha256("Grüße".encode()).hexdigest()[:12]


def test_a_lone_user_message_reads_like_its_text() -> None:
    assert prompt_text([{"role": "user", "content": "Hi"}]) == prompt_text("Hi") == "Hi"
    assert prompt_text([{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hi"}]) == (
        "system: Be kind\n\nuser: Hi"
    )


@pytest.mark.parametrize(
    ("value", "expected"), [(7, "7"), (7.0, "7"), (7.5, "7.5"), ("x", "x"), ("  ", None), (None, None), (0, "0")]
)
def test_ids_become_text(value: object, expected: str | None) -> None:
    assert as_identifier(value) == expected


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, math.nan, math.inf])
def test_other_types_are_no_ids(value: object) -> None:
    with pytest.raises(ValueError, match="text or a number"):
        as_identifier(value)


ANSWERS = [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"responses": ANSWERS}, "field prompt is missing"),
        ({"prompt": None, "responses": ANSWERS}, r"field prompt is missing \(null\)"),
        ({"prompt": 3, "responses": ANSWERS}, "field prompt must be text or a non-empty list"),
        ({"prompt": [], "responses": ANSWERS}, "field prompt must be text or a non-empty list"),
        ({"prompt": [{"role": "user"}], "responses": ANSWERS}, "field prompt message 0 needs content as text"),
        ({"prompt": "x"}, "field responses is missing"),
        ({"prompt": "x", "responses": "ab"}, "field responses must be a list"),
        ({"prompt": "x", "responses": ["a", "b"]}, r"field responses\[0\] must be an object"),
        ({"prompt": "x", "responses": [{"text": "a"}, {}]}, r"field responses\[1\]\.text is missing"),
        ({"prompt": "x", "responses": [{"text": 5}]}, r"field responses\[0\]\.text must be text"),
        ({"prompt": "x", "responses": [{"text": "a", "quality": math.nan}]}, "quality must be a finite number"),
        ({"prompt": "x", "responses": [{"text": "a", "quality": 10**400}]}, "quality must be a number"),
        ({"prompt": "x", "responses": [{"text": "a", "reference_logprob": "-3"}]}, "reference_logprob must be a num"),
        ({"prompt": "x", "responses": [{"text": "a", "reference_logprob": True}]}, "reference_logprob must be a num"),
        ({"prompt": "x", "responses": ANSWERS, "prompt_weight": 0}, "field prompt_weight must be above 0"),
        ({"prompt": "x", "responses": ANSWERS, "prompt_weight": math.inf}, "prompt_weight must be a finite number"),
        ({"prompt": "x", "responses": ANSWERS, "labels": [["a", "b", 2]]}, r"labels\[0\]\[2\] must be at most 1"),
        ({"prompt": "x", "responses": ANSWERS, "labels": [["a", "b"]]}, r"labels\[0\]\[2\] is missing"),
        ({"prompt": "x", "responses": ANSWERS, "meta": {"k": math.inf}}, "field meta holds a number that is not fin"),
        ({"prompt": "x", "responses": ANSWERS, "meta": "{"}, "field meta must be an object"),
        ({"prompt": "x", "responses": ANSWERS, "prompt_id": [1]}, "field prompt_id must be text or a number"),
    ],
)
def test_a_bad_row_is_told_by_its_field(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CanonicalRow.model_validate(row)
    assert re.search(reason, plain_reason(caught.value)), plain_reason(caught.value)


def test_only_prompt_and_texts_are_required() -> None:
    row = CanonicalRow.model_validate({"prompt": "", "responses": [{"text": ""}, {"text": "", "quality": None}]})
    assert (row.prompt, row.pairs, row.labels, row.prompt_weight) == ("", None, [], None)


@pytest.mark.parametrize("name", ["quality", "Fine-grained_score", "score_chosen", "overall score", "annotations"])
def test_outcomes_are_known_by_name_in_any_spelling(name: str) -> None:
    assert is_outcome(name)
    assert not is_outcome("temperature")
