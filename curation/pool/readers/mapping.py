"""Which column of a file is what: as somebody says it with --map, or as the columns' names suggest."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from curation.errors import PoolError
from curation.pool.files.lines import Row
from curation.pool.readers.pairs import answer_columns

REQUIRED = ("prompt", "response")
_OPTIONAL = ("prompt_id", "response_id", "generator", "quality", "stratum", "reference_logprob", "prompt_weight")
FIELDS = (*REQUIRED, *_OPTIONAL)
CONTINUED = "continued"  # the column that goes on with an instruction
_SYNONYMS = {
    "prompt": "prompt question instruction query input prompt_text user_prompt",
    "response": "response answer output completion response_text answer_text model_output generation text",
    "prompt_id": "prompt_id promptid question_id query_id instruction_id",
    "response_id": "response_id responseid answer_id completion_id generation_id output_id",
    "generator": "generator model model_name generator_name model_id source_model generation_model",
    "quality": "quality score rating reward judge_score gold_score overall_score helpfulness label kto_tag",
    "stratum": "stratum category domain topic task dataset source",
    "reference_logprob": "reference_logprob reference_logp ref_logprob ref_logp ref_logps reference_logps",
    "prompt_weight": "prompt_weight",
}
# Names in other languages: only suggested where somebody looks at the choice, never taken by themselves.
_ABROAD = {
    "prompt": "frage prompttext anfrage eingabe aufgabe pregunta instruccion instruction_utilisateur domanda vraag "
    "requete invite user_message user message",
    "response": "antwort ausgabe modellantwort respuesta salida reponse sortie risposta antwoord reply assistant "
    "assistant_message",
    "generator": "modell modelo modele modello llm system_name",
    "quality": "note bewertung punkte wertung puntuacion nota calificacion evaluation punteggio beoordeling",
    "stratum": "kategorie thema bereich categoria categorie tema sujet argomento onderwerp gruppe",
    "prompt_id": "frage_id fragen_id pregunta_id id_question id",
    "response_id": "antwort_id respuesta_id reponse_id",
}
_OTHERS = """chosen rejected responses system history tools chosen_model rejected_model score_chosen score_rejected
answers completions generations response_a response_b winner rating"""
RENAMED = tuple(dict.fromkeys((*FIELDS, *_OTHERS.split())))  # what --map may name


@dataclass(frozen=True)
class MappingChoices:
    """The columns of a flat file and the fields that they seem to be: field -> column.

    suggested: the same with names of other languages, to be looked at. rows: the first few, column -> text.
    """

    columns: tuple[str, ...]
    guess: dict[str, str]
    suggested: dict[str, str] = field(default_factory=dict)
    rows: tuple[dict[str, str], ...] = ()


def parse_mapping(texts: Sequence[str]) -> dict[str, str] | None:
    """`prompt=question,response=answer` as field -> column; None for no text. Raises PoolError.

    A column whose name holds a comma is quoted as in CSV: `"prompt=Question, in full"`.
    """
    found: dict[str, str] = {}
    for text in texts:
        for part in next(csv.reader([text], skipinitialspace=True), []):
            name, equals, column = (piece.strip() for piece in part.partition("="))
            if not (name and equals and column):
                raise PoolError(f"--map {part!r} is no FIELD=COLUMN; write --map prompt=question,response=answer.")
            if name in found:
                raise PoolError(f"--map names the field {name!r} twice; leave one.")
            if name not in RENAMED:
                raise PoolError(f"--map names the field {name!r}; fields are {', '.join(RENAMED)}.")
            found[name] = column
    return found or None


def guess_mapping(columns: Sequence[str]) -> dict[str, str]:
    """field -> column by name; a field that nothing resembles is left out, no column serves twice."""
    plain = {re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_"): column for column in reversed(columns)}
    guess: dict[str, str] = {}
    for name in FIELDS:
        for synonym in _SYNONYMS[name].split():
            if synonym in plain and plain[synonym] not in guess.values():
                guess[name] = plain[synonym]
                break
    return guess


def suggest_mapping(columns: Sequence[str]) -> dict[str, str]:
    """`guess_mapping`, and columns named in other languages for what it leaves open; for a choice that is looked at."""
    found = guess_mapping(columns)
    plain = {_without_accents(column): column for column in reversed(columns)}
    for name in FIELDS:
        for synonym in _ABROAD.get(name, "").split() if name not in found else ():
            if synonym in plain and plain[synonym] not in found.values():
                found[name] = plain[synonym]
                break
    return found


def _without_accents(column: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", column.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_")


def resolve_mapping(mapping: Mapping[str, str] | None, columns: Sequence[str], place: str) -> dict[str, str]:
    """The mapping to use: as given (prompt and response guessed when absent), else the guess. Raises PoolError."""
    guess = guess_mapping(columns)
    if mapping is None:
        chosen = guess
        plain = {column.lower(): column for column in columns if column not in guess.values()}
        follows = plain.get("input") or plain.get("context")
        if follows and guess.get("prompt", "").lower() in ("instruction", "question", "query"):
            return {**_complete(guess, columns, place), CONTINUED: follows}
    else:
        chosen = {name: column for name, column in mapping.items() if column}
        for name in REQUIRED:
            if name not in chosen and name in guess:
                chosen[name] = guess[name]
    return _complete(chosen, columns, place)


def _complete(chosen: dict[str, str], columns: Sequence[str], place: str) -> dict[str, str]:
    known = ", ".join(columns)
    for name, column in chosen.items():
        if name not in FIELDS:
            raise PoolError(f"{place}: the mapping names the field {name!r}; fields are {', '.join(FIELDS)}.")
        if column not in columns:
            raise PoolError(f"{place}: the mapping gives {name} the column {column!r}; columns are {known}.")
    for name in REQUIRED:
        if name not in chosen:
            raise PoolError(f"{place}: no column was mapped to {name}; columns are {known}.")
    return chosen


def renamed(
    first: list[Row], rows: Iterator[Row], columns: Sequence[str], mapping: Mapping[str, str], place: str
) -> tuple[list[Row], Iterator[Row], Mapping[str, str] | None]:
    """Rows with the columns of `mapping` under the names of its fields, where they are not a flat table; else as they
    are, with the mapping. Raises PoolError for a column that is not there."""
    names = {mapping.get(name, name).lower() for name in ("chosen", "rejected")}
    lowered = {column.lower() for column in columns}
    flat = "response" in mapping or "response" in guess_mapping(columns)
    other = not mapping.keys() <= set(FIELDS) or names <= lowered or answer_columns(frozenset(lowered)) is not None
    if flat and not other:
        return first, rows, mapping
    for name, column in mapping.items():
        if name not in RENAMED:
            raise PoolError(f"{place}: the mapping names the field {name!r}; fields are {', '.join(RENAMED)}.")
        if column not in columns:
            raise PoolError(
                f"{place}: the mapping gives {name} the column {column!r}; columns are {', '.join(columns)}."
            )
    back = {column: name for name, column in mapping.items()}

    def with_fields(row: Row) -> Row:
        kept = {name: value for name, value in row.data.items() if name not in mapping or name in back}
        return replace(row, data={back.get(name, name): value for name, value in kept.items()})

    return [with_fields(row) for row in first], map(with_fields, rows), None
