"""Two texts side by side: what they share, word by word, and Markdown of strangers that is laid out and does nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.insight.inert_markdown import JOINER, has_markdown, inert_markdown
from curation.insight.text_diff import COMPARED, similarity, word_difference

TEXT = st.text(alphabet="abc .,\n!é日", max_size=60)


def test_only_words_that_one_text_has_are_marked() -> None:
    left, right = word_difference("One two three four. Five six!", "One two three four. Seven six!")
    assert [(piece.text, piece.shared) for piece in left] == [
        ("One two three four. ", True), ("Five ", False), ("six!", True),
    ]  # fmt: skip
    assert [piece.text for piece in right if not piece.shared] == ["Seven "]


def test_words_that_agree_by_chance_inside_others_are_marked_with_them() -> None:
    left, _ = word_difference("Cats like the warm and sunny wall", "Dogs hate the cold and rainy street")
    assert [piece.shared for piece in left] == [False]


@given(left=TEXT, right=TEXT)
@settings(deadline=None)
def test_the_pieces_are_the_texts_and_a_text_shares_all_with_itself(left: str, right: str) -> None:
    sides = word_difference(left, right)
    assert ["".join(piece.text for piece in side) for side in sides] == [left, right]
    assert all(piece.shared for piece in word_difference(left, left)[0])


def test_what_is_beyond_the_compared_part_is_kept_and_not_called_shared() -> None:
    long = "word " * COMPARED
    pieces, _ = word_difference(long, long)
    assert "".join(piece.text for piece in pieces) == long
    assert [piece.shared for piece in pieces] == [True, False]


def test_similarity_is_of_words_in_order() -> None:
    assert similarity("a b c", "a b d") == pytest.approx(2 / 3)
    assert similarity("", "") == 1.0


HOSTILE = [
    "![x](http://outside.example/a.png)",
    "![x][ref]\n\n[ref]: http://outside.example/a.png",
    "[click](javascript:alert(1))",
    "<https://outside.example/>",
    "see www.outside.example or ana@outside.example",
    ":red[not red] :smile: :material/home:",
    "`![x](http://outside.example/a.png)`",
    "[![x](http://outside.example/a.png)](http://outside.example)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_stranger_is_loaded_or_linked(text: str) -> None:
    made = inert_markdown(text)
    assert made.replace(JOINER, "") == text, "the reader sees the characters that were written"
    for opener in (r"!\[", r"\]\(", r"\]\[", r"\]:", r"[a-z]://", r"www\.", r"\w@\w", r":\w+[:\[]", ":material/"):
        assert not re.search(opener, made), opener


def test_headings_lists_code_and_formulas_stay() -> None:
    text = "# Title\n\n- one\n- **two**\n\n```python\nprint({'a': 1})\n```\n\n$e = mc^2$\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    assert inert_markdown(text) == text
    assert has_markdown(text)
    assert not has_markdown("Plain words, 3 of them. Costs $5.")


def test_formulas_in_brackets_become_dollars_and_money_stays_money() -> None:
    assert inert_markdown(r"\(a+b\) and \[c\]") == "$a+b$ and $$c$$"
    assert inert_markdown("from $5 to $10k, $x_1$ apart") == r"from \$5 to \$10k, $x_1$ apart"
