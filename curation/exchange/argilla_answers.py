"""Answers in Argilla's exports: the server's API, the SDK's records, and the SDK's flat rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from curation.errors import ImportLabelsError
from curation.exchange.cells import Cell, as_value, further_text, is_blank
from curation.exchange.shapes import ArgillaAnswer, ArgillaAnswers, ArgillaRecord, ArgillaResponse, shaped

QUESTION, STRENGTH = "preference", "strength"
FLAT = ".responses"
NO_STATUS = (
    "answers of unknown status: the file does not tell submitted from draft and discarded ones, so all are counted; "
    "`to_list(flatten=True)` does"
)
_EXPECTED = f"the question {QUESTION!r} has no answer"


def is_argilla(item: dict[str, Any]) -> bool:
    """Whether an object is a record of Argilla, nested or flat."""
    return "responses" in item or "fields" in item or any(str(key).endswith(FLAT) for key in item)


def argilla_cells(item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
    """The submitted and discarded answers of a record. Drafts, and what has no status, are counted in `told`."""
    if any(str(key).endswith(FLAT) for key in item):
        metadata, answers = item, _flat(item, place)
    else:
        record = shaped(ArgillaRecord, item, place)
        metadata = record.metadata
        responses = record.responses
        answers = _by_question(responses) if isinstance(responses, ArgillaAnswers) else list(_api(responses))
    if not answers:
        told["records without a response"] += 1
    for status, who, values in answers:
        word = str(status).lower().rpartition(".")[2]  # also as Python prints the enumeration
        if is_blank(status):
            told[NO_STATUS] += 1
        elif word not in ("submitted", "discarded"):
            told["drafts left out" if word == "draft" else "responses of another status left out"] += 1
            continue
        others = {name: further_text(value) for name, value in values.items() if name not in (QUESTION, STRENGTH)}
        yield Cell(
            place, metadata, values.get(QUESTION), values.get(STRENGTH), who, cancelled=word == "discarded",
            expected=_EXPECTED, further={name: text for name, text in others.items() if text},
        )  # fmt: skip


_Answer = tuple[Any, Any, dict[str, Any]]  # status, annotator, question -> value


def _api(responses: Sequence[ArgillaResponse]) -> Iterator[_Answer]:
    for response in responses:
        values = {name: value.value for name, value in response.values.items() if value is not None}
        yield response.status, response.user_id, values


def _by_question(responses: ArgillaAnswers) -> list[_Answer]:
    """The SDK's lists of answers by question, gathered by person."""
    questions = {QUESTION: responses.preference, STRENGTH: responses.strength}
    for name, answers in (responses.model_extra or {}).items():
        if isinstance(answers, list):
            questions[name] = [ArgillaAnswer.model_construct(**one) for one in answers if isinstance(one, dict)]
    return _gathered(
        (name, each.user_id, each.status, each.value) for name, answers in questions.items() for each in answers
    )


def _flat(item: dict[str, Any], place: str) -> list[_Answer]:
    """Columns `NAME.responses`, `NAME.responses.users` and `NAME.responses.status`, each a list."""
    found = []
    for key in item:
        if not str(key).endswith(FLAT):
            continue
        ends = ("", ".users", ".status")
        values, users, states = (_list(item.get(f"{key}{end}"), f"{place}: {key}{end}") for end in ends)
        for other, name in ((users, "users"), (states, "status")):
            if other and len(other) != len(values):
                raise ImportLabelsError(
                    f"{place}: {key} has {len(values)} answers and {len(other)} {name}; export it again."
                )
        for n, value in enumerate(values):
            found.append(
                (str(key).removesuffix(FLAT), users[n] if users else None, states[n] if states else None, value)
            )
    return _gathered(found)


def _gathered(answers: Iterable[tuple[str, Any, Any, Any]]) -> list[_Answer]:
    """(question, person, status, value) as one answer a person; somebody unnamed answers a question once a record."""
    people: dict[tuple[str, int], _Answer] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for name, who, status, value in answers:
        turn = seen[name, str(who)]
        seen[name, str(who)] += 1
        known = people.setdefault((str(who), turn), (status, who, {}))
        known[2][name] = value
        if name == QUESTION and known[0] != status:
            people[str(who), turn] = (status, who, known[2])
    return list(people.values())


def _list(value: Any, place: str) -> list[Any]:
    if is_blank(value):
        return []
    if isinstance(value, str):
        try:
            value = as_value(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise ImportLabelsError(f"{place} is no list; export the records as JSON.")
    if any(isinstance(part, dict | list) for part in value):
        raise ImportLabelsError(f"{place} must hold text or numbers; export the records as JSON.")
    return value
