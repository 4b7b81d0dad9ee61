"""Argilla 2: a JSON list of records with the settings of the dataset that takes them, and the answers in its exports.

Written without the SDK, whose Settings object wants a server. `Settings.from_json` and `Dataset.records.from_json`
read these two files. Read are the server's API, the SDK's records, and the SDK's flat rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from curation.batch.answers import GRADED, Answers
from curation.batch.presentation import ExportHeader, Presented
from curation.errors import ExportError, ImportLabelsError
from curation.exchange.cells import Cell, as_value, further_text, is_blank
from curation.exchange.tools.base import (
    Content,
    Files,
    Outgoing,
    Tool,
    Writer,
    object_with,
    text_writer,
    write_json_list,
)
from curation.exchange.tools.shapes import OR_LIST, OR_OBJECT, Item, Plain, shaped
from curation.pool.messages import plain_messages

_GUIDELINES = (
    "Read the prompt and both responses. Choose the response that answers the prompt better. Choose the tie only when "
    "neither is better."
)
_GRADED_GUIDELINES = (
    "Read the prompt and both responses. Say which response answers the prompt better, and whether it is much or "
    "slightly better. Choose the tie only when neither is better, and Both are bad when neither is acceptable."
)
_METADATA = {
    "pair_id": "terms",
    "batch_id": "terms",
    "left_id": "terms",
    "right_id": "terms",
    "copy": "integer",
    "manifest_hash": "terms",
    "unsigned": "terms",
    "audit_head": "terms",
}
_QUESTION, _STRENGTH = "preference", "strength"
_FLAT = ".responses"
_NO_STATUS = (
    "answers of unknown status: the file does not tell submitted from draft and discarded ones, so all are counted; "
    "`to_list(flatten=True)` does"
)
_EXPECTED = f"the question {_QUESTION!r} has no answer"
_SETTINGS = object_with("fields", "questions")


class Argilla(Tool):
    """Records out, which Argilla hands to people itself; records back."""

    name, rank, title, suffix = "argilla", 20, "Argilla", "json"
    refuses_nul = "Argilla"  # it keeps texts in PostgreSQL
    beside = (
        (".settings.json", _SETTINGS),
        *((f".by-{number}.json", None) for number in range(2, 10)),
        *((f".by-{number}.settings.json", _SETTINGS) for number in range(2, 10)),
    )

    def side_files(self, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
        return {".settings.json": _settings_text(header, guidelines)}

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        write_json_list(path, (_record(row, header) for row in rows))

    def to_people(self, out: Outgoing) -> Files:
        """Pairs by how many people label them, a dataset each: the fewest in the file itself, the others beside it.

        `min_submitted` is of a dataset, and Argilla asks nobody twice about a record: one record per pair goes out.
        """
        if out.order == "both":
            raise ExportError(
                "Argilla asks nobody twice about a record, but order 'both' makes two records of every pair; use "
                "--order random with --annotators."
            )
        if any(person.quota is not None for person in out.annotators):
            raise ExportError(
                "Argilla hands records out itself and keeps no quotas; leave the numbers out of --annotators."
            )
        people = Counter(row.pair_id for row in out.rows)
        groups = sorted(set(people.values()))
        if groups[-1] > len(out.annotators):
            raise ExportError(
                f"some pairs are to be labelled {groups[-1]} times and {len(out.annotators)} annotators are named; "
                f"name {groups[-1]} or more."
            )

        def of(number: int) -> Writer:
            once = [row for row in out.rows if row.copy == 1 and people[row.pair_id] == number]
            return lambda path: self.write(path, once, out.header)

        def settings_of(number: int) -> Writer:
            return text_writer(_settings_text(out.header, out.guidelines, number))

        beside = {".settings.json": settings_of(groups[0])}
        for number in groups[1:]:
            beside |= {f".by-{number}.json": of(number), f".by-{number}.settings.json": settings_of(number)}
        return Files(of(groups[0]), beside)

    def unanswered(self, found: Content) -> bool:
        return found.arrangement == "list" and all(set(item) == {"id", "fields", "metadata"} for item in found.items)

    def recognises(self, item: dict[str, Any]) -> bool:
        return not {"pair_id", "preference"} <= {*item} and _is_argilla(item)

    def cells(self, item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
        return _cells(item, place, told)

    def is_record(self, item: dict[str, Any]) -> bool:
        return "responses" in item or _is_flat(item)

    def is_columns(self, item: dict[str, Any]) -> bool:
        return _is_argilla(item)


PLUG = Argilla()


def _settings_text(header: ExportHeader, guidelines: str | None, min_submitted: int = 1) -> str:
    found = settings(header.answers, min_submitted=min_submitted, guidelines=guidelines)
    return json.dumps(found, indent=1) + "\n"


def _record(row: Presented, header: ExportHeader) -> dict[str, Any]:
    """One record: `response_a` is the left response, `response_b` the right one."""
    metadata: dict[str, Any] = {
        "pair_id": row.pair_id,
        "batch_id": header.batch_id,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "copy": row.copy,
        "manifest_hash": header.manifest_hash,
    }
    if header.graded:
        metadata["answers"] = header.answers
    if not header.signed:
        metadata["unsigned"] = "true"  # terms are text
    elif header.audit_head is not None:
        metadata["audit_head"] = header.audit_head
    return {
        "id": f"{row.pair_id}.{row.number}",
        "fields": {
            "prompt": plain_messages(row.prompt),
            "response_a": row.left,
            "response_b": row.right,
        },
        "metadata": metadata,
    }


def settings(answers: Answers = "binary", *, min_submitted: int = 1, guidelines: str | None = None) -> dict[str, Any]:
    """The dataset: a chat prompt, two plain texts, one question, and metadata that annotators do not see.

    min_submitted: how many different people answer a record; Argilla shows it to nobody twice. guidelines:
    the batch's own; else a short text of ours.
    """
    graded = answers == "graded"
    words = {"a": "Response A", "b": "Response B", "tie": "Tie"}
    if graded:
        words = {
            value.replace("left", "a").replace("right", "b"): text.format(left="Response A", right="Response B")
            for value, text in GRADED.items()
        }
    return {
        "guidelines": guidelines or (_GRADED_GUIDELINES if graded else _GUIDELINES),
        "fields": [
            _field("prompt", "Prompt", "chat"),
            _field("response_a", "Response A", "text"),
            _field("response_b", "Response B", "text"),
        ],
        "questions": [
            {
                "name": "preference",
                "title": "Which response is better?",
                "description": None,
                "required": True,
                "settings": {
                    "type": "label_selection",
                    "options": [{"value": value, "text": text} for value, text in words.items()],
                    "visible_options": len(words),
                },
            }
        ],
        "metadata": [
            {
                "name": name,
                "title": name,
                "visible_for_annotators": False,
                "settings": {"type": kind, "visible_for_annotators": False},
            }
            for name, kind in {**_METADATA, **({"answers": "terms"} if graded else {})}.items()
        ],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": min_submitted},
    }


def _field(name: str, title: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "required": True,
        "description": None,
        "settings": {"type": kind, "use_markdown": False},
    }


# Answers -------------------------------------------------------------------------------------------------------------


class ArgillaValue(Item):
    """What a question was answered with."""

    value: Plain = None


class ArgillaResponse(Item):
    """One annotator's response, as the server's API gives it."""

    status: Plain = None
    user_id: Plain = None
    values: Annotated[dict[str, ArgillaValue | None], OR_OBJECT] = Field(default_factory=dict)


class ArgillaAnswer(Item):
    """One answer to one question, as the SDK writes it."""

    value: Plain = None
    user_id: Plain = None
    status: Plain = None


class ArgillaAnswers(Item):
    """Answers by question, as the SDK writes them."""

    preference: Annotated[list[ArgillaAnswer], OR_LIST] = Field(default_factory=list)
    strength: Annotated[list[ArgillaAnswer], OR_LIST] = Field(default_factory=list)


class ArgillaRecord(Item):
    """A record of Argilla; `responses` by annotator (API) or by question (SDK)."""

    metadata: Annotated[dict[str, Any], OR_OBJECT] = Field(default_factory=dict)
    responses: Annotated[list[ArgillaResponse] | ArgillaAnswers, OR_LIST] = Field(default_factory=list)


def _is_argilla(item: dict[str, Any]) -> bool:
    """Whether an object is a record of Argilla, nested or flat."""
    return "responses" in item or "fields" in item or _is_flat(item)


def _is_flat(item: dict[str, Any]) -> bool:
    return any(str(key).endswith(_FLAT) for key in item)


def _cells(item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
    """The submitted and discarded answers of a record. Drafts, and what has no status, are counted in `told`."""
    if _is_flat(item):
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
            told[_NO_STATUS] += 1
        elif word not in ("submitted", "discarded"):
            told["drafts left out" if word == "draft" else "responses of another status left out"] += 1
            continue
        others = {name: further_text(value) for name, value in values.items() if name not in (_QUESTION, _STRENGTH)}
        yield Cell(
            place, metadata, values.get(_QUESTION), values.get(_STRENGTH), who, cancelled=word == "discarded",
            expected=_EXPECTED, further={name: text for name, text in others.items() if text},
        )  # fmt: skip


_Answer = tuple[Any, Any, dict[str, Any]]  # status, annotator, question -> value


def _api(responses: Sequence[ArgillaResponse]) -> Iterator[_Answer]:
    for response in responses:
        values = {name: value.value for name, value in response.values.items() if value is not None}
        yield response.status, response.user_id, values


def _by_question(responses: ArgillaAnswers) -> list[_Answer]:
    """The SDK's lists of answers by question, gathered by person."""
    questions = {_QUESTION: responses.preference, _STRENGTH: responses.strength}
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
        if not str(key).endswith(_FLAT):
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
                (str(key).removesuffix(_FLAT), users[n] if users else None, states[n] if states else None, value)
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
        if name == _QUESTION and known[0] != status:
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
