"""Two answers side by side in columns, and who won: HelpSteer, arena, PKU-SafeRLHF, SHP, AlpacaFarm and their like.

Each row is made a preference row with the probability that its first answer wins, and read as one of those.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.prompts import given_prompt
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import Collected, RowError, list_or_cell, outcome_or_none
from curation.pool.readers.preference import OUTCOME, read_preference

# Columns of the two answers, and how winners, models and scores name their sides.
_PAIRS = tuple(
    (f"{stem}{one}", f"{stem}{two}", one.strip("_"), two.strip("_"))
    for stem in ("conversation", "response", "answer", "completion", "output", "human_ref", "generation")
    for one, two in (("_a", "_b"), ("_1", "_2"), ("_0", "_1"), ("1", "2"))
)
_STRENGTH = ("preference_strength", "overall_preference")  # -3 to 3, below 0 where the first is better
_WINNER = ("winner", "better_response_id", "preference", "preferred", "choice", "overall_winner")
_STRONGEST = 3.0
_TIES = ("tie", "both", "draw", "equal", "same")


class Pairs(Reader):
    """Two columns of answers, whatever their case."""

    name, rank, turn = "pairs", 60, 70
    says = "response_1, response_2 or the like, and who won"

    def fits(self, data: dict[str, Any]) -> bool:
        return answer_columns({name.lower() for name in data}) is not None

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        read_preference(rows, collected, transcripts=False, columns=about.columns, parse=_as_preference)


PLUG = Pairs()


def answer_columns(names: Container[str]) -> tuple[str, str, str, str] | None:
    """The two columns of answers and the names of their sides; None where a row has no such columns."""
    return next((pair for pair in _PAIRS if pair[0] in names and pair[1] in names), None)


def _as_preference(data: dict[str, Any], collected: Collected) -> dict[str, Any]:
    """A row of two answers as {prompt, chosen, rejected, OUTCOME, ...}: the first answer stands as chosen.

    A strength of -3 to 3 becomes a probability linearly, 1 at -3 and 0 at 3. Raises RowError without two answers.
    """
    found = answer_columns(data)
    if found is None:
        raise RowError("lacks the columns of two answers that other rows have")
    first, second, one, two = found
    row = {**data, "chosen": _row_answer(data, first), "rejected": _row_answer(data, second)}
    _unlisted(row)
    row[OUTCOME], used = _outcome(data, first, one, two, collected)
    used |= {name for name in (*_STRENGTH, *_WINNER) if name in data and data[name] is None}
    for side, end in (("chosen", one), ("rejected", two)):
        for name, target in (("model", f"{side}_model"), ("generator", f"{side}_model"), ("score", f"score_{side}")):
            for column in (f"{name}_{end}", f"response_{end}_{name}"):
                if data.get(column) is not None:
                    row[target] = data[column]
                    used.add(column)
    if first.startswith("human_ref") and given_prompt(data)[0] is None and isinstance(data.get("history"), str):
        row["prompt"] = row.pop("history")
    question = data.get("question")
    if isinstance(question, dict) and isinstance(question.get("full_text"), str):
        row["prompt"] = question["full_text"]
        used.add("question")
    return {name: value for name, value in row.items() if name not in used and name not in (first, second)}


def _unlisted(row: dict[str, Any]) -> None:
    """Prompts and answers of several turns that stand in three lists of texts, as messages."""
    lists = [list_or_cell(row.get(name)) for name in ("prompt", "chosen", "rejected")]
    if not all(isinstance(turns, list) and turns and all(isinstance(t, str | None) for t in turns) for turns in lists):
        return
    asked, *answered = lists
    row["prompt"] = asked[0]
    for name, turns in zip(("chosen", "rejected"), answered, strict=True):
        if len(turns) != len(asked):
            raise RowError(f"field prompt has {len(asked)} turns and an answer to it {len(turns)}")
        messages = [{"role": "assistant", "content": turns[0] or ""}]
        for question, answer in zip(asked[1:], turns[1:], strict=True):
            messages += [{"role": "user", "content": question or ""}, {"role": "assistant", "content": answer or ""}]
        row[name] = messages if len(messages) > 1 else turns[0] or ""


def _row_answer(data: Mapping[str, Any], name: str) -> Any:
    """The answer in a column. Raises RowError where there is none."""
    if data[name] is None:
        raise RowError(f"field {name} is missing")
    return data[name]


def _outcome(
    data: Mapping[str, Any], first: str, one: str, two: str, collected: Collected
) -> tuple[float | None, set[str]]:
    """Probability that the first answer wins, None where nothing is said, and the columns that were read."""
    for name in _STRENGTH:
        if data.get(name) is not None:
            strength = outcome_or_none(data[name], name, collected)
            if strength is None or abs(strength) > _STRONGEST:
                return None, {name}
            return 0.5 - strength / (2 * _STRONGEST), {name}
    flags = [f"winner_model_{one}", f"winner_model_{two}", "winner_tie"]
    told = [outcome_or_none(data.get(name), name, collected) for name in flags]
    if 1.0 in told:
        return (1.0, 0.0, 0.5)[told.index(1.0)], {*flags}
    if first.startswith("human_ref") and data.get("labels") is not None:
        return _named(data["labels"], "1", "0", "labels", collected), {"labels"}
    for name in _WINNER:
        if data.get(name) is not None:
            return _named(data[name], one, two, name, collected), {name}
    return None, set()


def _named(value: Any, one: str, two: str, name: str, collected: Collected) -> float | None:
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip().lower()
    for lead in ("model", "response", "assistant", "answer", "completion", "output"):
        text = text.removeprefix(lead).strip(" _")
    if text in (one, two):
        return 1.0 if text == one else 0.0
    if text.startswith(_TIES):
        return 0.5
    collected.note(f"values of {name!r} name no winner and were left out; their rows are used")
    return None
