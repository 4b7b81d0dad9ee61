"""Signs of a broken answer in its text alone: ends that look open and are not, and rules as they were before a speed-up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.health.text_rules import LONG_WORDS, LOOPED, ends_openly, ends_without_stop, loops


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Sure, tell me where it hurts. Of course I can help you with that", False),
        ("The fee varies with the task. Are you sure you want to proceed with this", False),
        ("I do not understand it. Is there anything else I can help you with", False),
        ("You may want to check the weather there, and also a few other sources that", True),
        ("That is a matter of taste, but then it is also not the case that this", True),
        ("It was a very long meeting, which in the end was worth it though", False),
        ("A forgotten fence.\n```python\nprint(common(a, b))", False),
        ("A forgotten fence.\n```yaml\nname: build\nuses: 'actions/checkout'", False),
        ("Really cut.\n```python\nfor row in table:\n    total = total + ro", True),
        ("All on one line ``` return answer; } ``` Note that this is just one way to do it!", False),
        ("```", False),
        (" \n", False),
    ],
)
def test_ends_that_look_open_are_told_from_open_ends(text: str, cut: bool) -> None:
    assert ends_openly(text) is cut


def test_only_a_text_that_ends_on_a_letter_may_lack_its_stop() -> None:
    assert not ends_without_stop("")
    assert not ends_without_stop("We came home. Then we counted everything that was left: it was 40")
    assert ends_without_stop("We came home. Then we counted everything that was left of the money")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=LONG_WORDS, max_size=160))
@settings(deadline=None, max_examples=200)
def test_counting_words_first_changes_no_verdict_on_loops(words: list[str]) -> None:
    grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    assert loops(" ".join(words)) is (1 - len(set(grams)) / len(grams) >= LOOPED)
