"""Preference data as tools write it: the prompt under its names, whole messages, outcomes apart, nothing guessed."""

from __future__ import annotations

import csv
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import PoolError
from curation.exchange.trl import preferences
from curation.pool.files.storage import write_pool
from curation.pool.labels import Label
from curation.pool.messages import prompt_text
from curation.pool.readers.read import parse_mapping, read_pool
from curation.pool.schema import PoolFile, content_id
from curation.representation.features_file import write_features
from tests.desk.commands import records, run, solve

USER = {"role": "user", "content": "Which bird sings at night?"}
CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": "owl"}}}
OTHER = {"type": "function", "function": {"name": "look_up", "arguments": {"word": "cat"}}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
SIDES = {"chosen": "I would plant leeks.", "rejected": "I would plant nothing."}


def said(text: str, role: str = "assistant", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def read(tmp_path: Path, *rows: dict[str, Any], mapping: dict[str, str] | None = None) -> PoolFile:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read_pool(path, mapping=mapping)
    assert found.rows == found.rows_used + len(found.rejects) == len(rows)
    return found


def winner(file: PoolFile) -> str:
    """The text that won the first label."""
    prompt_id, a, b, probability = file.truth.labels[0]
    texts = {(p.prompt_id, r.response_id): r.text for p in file.pool.prompts for r in p.responses}
    return texts[prompt_id, a if probability > 0.5 else b]


@pytest.mark.parametrize(
    ("columns", "prompt"),
    [
        ({"instruction": "Ask.", "input": ""}, "Ask."),
        ({"instruction": "Ask.", "input": "It."}, "Ask.\nIt."),
        ({"question": "Ask?"}, "Ask?"),
        ({"query": "Ask?"}, "Ask?"),
        ({"Question": "Ask?"}, "Ask?"),
        ({"context": [USER]}, [USER]),
        ({"messages": [USER]}, [USER]),
        ({"conversations": [{"from": "human", "value": USER["content"]}]}, [USER]),
        ({"system": "Be kind.", "question": "Ask?"}, [said("Be kind.", "system"), said("Ask?", "user")]),
        ({"system_prompt": "Be kind.", "prompt": "Ask?"}, [said("Be kind.", "system"), said("Ask?", "user")]),
        ({"system": "", "prompt": "Ask?", "tools": [], "history": None}, "Ask?"),
        ({"system": math.nan, "prompt": "Ask?", "tools": "[]", "history": math.nan, "functions": "null"}, "Ask?"),
        ({"prompt": math.nan, "question": "Ask?"}, "Ask?"),
        (
            {"system": "Be kind.", "history": [["Hello", "Hi"]], "prompt": "Ask?"},
            [said("Be kind.", "system"), said("Hello", "user"), said("Hi"), said("Ask?", "user")],
        ),
        ({"prompt": "Ask?", "tools": TOOLS}, [said("", "system", tools=TOOLS), said("Ask?", "user")]),
        ({"prompt": "Ask?", "tools": json.dumps(TOOLS)}, [said("", "system", tools=TOOLS), said("Ask?", "user")]),
    ],
)
def test_the_prompt_stands_under_its_usual_names_with_what_belongs_to_it(
    tmp_path: Path, columns: dict[str, Any], prompt: Any
) -> None:
    found = read(tmp_path, {**columns, **SIDES})
    assert (found.format, found.notes) == ("trl", ())
    assert found.pool.prompts[0].prompt == prompt
    assert winner(found) == SIDES["chosen"]


def test_no_prompt_is_guessed_where_a_column_may_hold_it(tmp_path: Path) -> None:
    good = {"prompt": "What to plant?", **SIDES}
    found = read(tmp_path, good, {"prompt": None, **SIDES}, SIDES, {"Frage": "Was pflanzen wir?", **SIDES})
    assert [(reject.line, "prompt" in reject.reason) for reject in found.rejects] == [(2, True), (3, True), (4, True)]
    assert "'frage' may hold it" in found.rejects[2].reason
    assert "--map prompt=frage" in found.rejects[2].reason
    turns = {"chosen": [said("a")], "rejected": [said("b")]}
    with pytest.raises(PoolError, match="--map prompt=frage"):
        read(tmp_path, {"Frage": "Was pflanzen wir?", **turns})
    with pytest.raises(PoolError, match="--map prompt=frage"):
        read(tmp_path, {"Frage": "Was pflanzen wir?", **SIDES})
    mapped = read(tmp_path, {"Frage": "Was pflanzen wir?", **SIDES}, mapping={"prompt": "Frage"})
    assert mapped.pool.prompts[0].prompt == "Was pflanzen wir?"
    assert read(tmp_path, SIDES).pool.prompts[0].prompt == "I would plant"  # nothing could hold it


def test_messages_keep_tool_calls_names_and_thinking(tmp_path: Path) -> None:
    row = {
        "prompt": [USER],
        "chosen": [
            {"role": "assistant", "tool_calls": [CALL]},
            said("an owl", "tool", name="look_up", tool_call_id="c1"),
            said("The owl does.", thinking="I recall it."),
        ],
        "rejected": [{"role": "assistant", "content": None, "tool_calls": [OTHER]}],
    }
    found = read(tmp_path, row)
    texts = {r.text: r.messages for r in found.pool.prompts[0].responses}
    assert set(texts) == {
        'assistant: [tool call] look_up({"word": "owl"})\n\ntool: [look_up] an owl\n\n'
        "assistant: [thinking] I recall it.\n\nThe owl does.",
        '[tool call] look_up({"word": "cat"})',
    }
    assert texts['[tool call] look_up({"word": "cat"})'] == (said("", tool_calls=[OTHER]),)
    assert winner(found).startswith("assistant: [tool call]")


@pytest.mark.parametrize("difference", ["tool_calls", "thinking"])
def test_responses_that_differ_in_a_call_or_a_thought_are_two(tmp_path: Path, difference: str) -> None:
    values = {"tool_calls": ([CALL], [OTHER]), "thinking": ("One.", "Two.")}[difference]
    row = {side: [said("Same.", **{difference: v})] for side, v in zip(("chosen", "rejected"), values, strict=True)}
    found = read(tmp_path, {"prompt": "Ask?", **row})
    assert len({response.text for response in found.pool.prompts[0].responses}) == 2
    assert found.notes == ()
    assert found.truth.labels[0][3] in (0.0, 1.0)


def test_text_parts_are_joined_and_others_refused_by_name(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Which "}, {"type": "text", "text": "bird?", "image": None}]
    good = {"prompt": [said(parts, "user")], **SIDES}  # type: ignore[arg-type]
    canonical = {"prompt": [said(parts, "user")], "responses": [{"text": "a"}, {"text": "b"}]}  # type: ignore[arg-type]
    pictured = {"prompt": [said([*parts, {"type": "image"}], "user")], **SIDES}  # type: ignore[arg-type, list-item]
    found = read(tmp_path, good, pictured, {"prompt": "Ask?", "images": ["a.png"], **SIDES})
    assert found.pool.prompts[0].prompt == [said("Which bird?", "user")]
    assert ["'image'" in found.rejects[0].reason, "field images" in found.rejects[1].reason] == [True, True]
    assert read(tmp_path, canonical).pool.prompts[0].prompt == [said("Which bird?", "user")]


def test_what_a_message_holds_beyond_that_is_told(tmp_path: Path) -> None:
    row = {"prompt": [{**USER, "mood": "glad"}], "chosen": [said("a")], "rejected": [said("b")]}
    assert read(tmp_path, row).notes == ("1 messages hold the field 'mood', which is not used",)


def test_canonical_responses_may_be_messages_alone(tmp_path: Path) -> None:
    turns = [said("a"), USER, said("b")]
    found = read(tmp_path, {"prompt": "Q", "responses": [{"messages": turns}, {"text": "x"}]})
    assert found.pool.prompts[0].responses[0].messages == tuple(turns)
    assert found.pool.prompts[0].responses[0].text == prompt_text(turns)


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "jsonl.gz"])
def test_whole_messages_survive_the_canonical_format(tmp_path: Path, ending: str) -> None:
    rows = [
        {"prompt": "Plain?", "chosen": "a", "rejected": "b"},
        {
            "prompt": [USER],
            "tools": TOOLS,
            "chosen": [said("x", thinking="t"), USER, said("y")],
            "rejected": [said("z")],
        },
    ]
    found = read(tmp_path, *rows)
    again = read_pool(write_pool(found.pool, tmp_path / f"again.{ending}", truth=found.truth), name=found.pool.name)
    assert again.pool == found.pool
    assert (again.pool.fingerprint, again.truth, again.rejects) == (found.pool.fingerprint, found.truth, ())


def test_plain_pools_keep_their_fingerprint(tmp_path: Path) -> None:
    rows = [{"prompt": [USER], "chosen": [said("a")], "rejected": [said("b")]}, {"prompt": "Q", **SIDES}]
    assert read(tmp_path, *rows).pool.fingerprint == "5594b25c6975ab36"


def test_several_messages_reach_the_batch_and_the_training_rows(tmp_path: Path) -> None:
    turns = [said("Where?"), said("In Kent.", "user"), said("The nightingale.")]
    rows = [
        {"prompt": f"Which bird {n}?", "tools": TOOLS, "chosen": turns, "rejected": [said(f"None {n}.")]}
        for n in range(4)
    ]
    found = read(tmp_path, *rows)
    ids = found.pool.ids()
    features = tmp_path / "rows.features.parquet"
    write_features(features, ids, np.random.default_rng(0).standard_normal((len(ids), 3)).astype("float32"))
    solve(tmp_path / "rows.jsonl", features, tmp_path / "batch", home=tmp_path, budget=2)
    record = records(tmp_path / "batch")[0]
    side = "a" if "messages_a" in record else "b"
    assert record[f"messages_{side}"] == turns
    assert f"messages_{'b' if side == 'a' else 'a'}" not in record
    (row,) = preferences([record], [Label(record["pair_id"], side, "u", "a", 1, None)]).rows  # type: ignore[arg-type]
    assert (row["chosen"], row["tools"]) == (turns, TOOLS)
    assert row["prompt"] == [said(prompt_text(record["prompt"][1:]), "user")]
    assert row["rejected"][0]["content"].startswith("None ")


@pytest.mark.parametrize("spelled", [json.dumps, repr])
def test_messages_in_cells_of_text_are_decoded(tmp_path: Path, spelled: Any) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["chosen", "rejected"])
        writer.writerow([spelled([USER, said("It's the nightingale.")]), spelled([USER, said("None\ndoes.")])])
        writer.writerow([spelled([USER, said("x")]).replace("}, {", "}\n {"), "[{'role': 'user', 'content': 'cut"])
    found = read_pool(path)
    assert found.pool.prompts[0].prompt == [USER]
    assert sorted(r.text for r in found.pool.prompts[0].responses) == ["It's the nightingale.", "None\ndoes."]
    (reject,) = found.rejects
    assert (reject.line, "holds messages as text that cannot be decoded" in reject.reason) == (2, True)


def test_an_answer_that_is_json_of_its_own_stays_an_answer(tmp_path: Path) -> None:
    found = read(tmp_path, {"prompt": "Give JSON", "chosen": '[{"value": 3}]', "rejected": '{"role": "cook"}'})
    assert sorted(r.text for r in found.pool.prompts[0].responses) == ['[{"value": 3}]', '{"role": "cook"}']


def test_an_outcome_that_cannot_be_read_costs_the_outcome_alone(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Q{n}", **SIDES, "score_chosen": score, "source": math.nan, "chosen_model": "NaN"}
        for n, score in enumerate([math.nan, "N/A", "4.5", "", None, 3, float("inf")])
    ]
    found = read(tmp_path, *rows)
    assert (found.rows_used, sorted(found.truth.quality.values())) == (7, [3.0, 4.5])
    assert found.notes == ("3 values of 'score_chosen' are no number and were left out; their rows are used",)
    assert {prompt.stratum for prompt in found.pool.prompts} == {None}
    assert {r.generator for prompt in found.pool.prompts for r in prompt.responses} == {None}
    rated = {"instruction": "Q", "generations": ["a", "b"], "ratings": ["5", "N/A"]}
    assert list(read(tmp_path, rated).truth.quality.values()) == [5.0]
    rated["ratings"] = [5]
    assert (read(tmp_path, rated).truth.quality, read(tmp_path, rated).rows_used) == ({}, 1)
    answers = [
        {"response_id": "a", "text": "a", "quality": math.nan},
        {"response_id": "b", "text": "b", "quality": "2"},
    ]
    canonical = {"prompt": "Q", "responses": answers, "labels": [["a", "b", math.nan], ["a", "b", 1]]}
    assert list(read(tmp_path, canonical).truth.quality.values()) == [2.0]
    assert [label[3] for label in read(tmp_path, canonical).truth.labels] == [1.0]


def test_decimal_scores_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{"prompt": "Q", "response": t, "score": Decimal(s)} for t, s in (("a", "1.50"), ("b", "2.25"))]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert sorted(read_pool(path).truth.quality.values()) == [1.5, 2.25]


WON, LOST = "Cover for soil.", "A fish."
PAIRS: dict[str, dict[str, Any]] = {
    "helpsteer2": {"prompt": "Q", "response_1": WON, "response_2": LOST, "preference_strength": -2},
    "helpsteer3": {"context": [USER], "response1": LOST, "response2": WON, "overall_preference": 3},
    "pku": {"prompt": "Q", "response_0": WON, "response_1": LOST, "better_response_id": 0, "safer_response_id": 1},
    "arena": {
        "conversation_a": [USER, said(LOST)], "conversation_b": [USER, said(WON)], "winner": "model_b",
        "model_a": "m1", "model_b": "m2",
    },
    "kaggle": {"prompt": "Q", "response_a": WON, "response_b": LOST, "winner_model_a": 1, "winner_model_b": 0,
               "winner_tie": 0},
    "kaggle lists": {"prompt": '["Q"]', "response_a": json.dumps([LOST]), "response_b": json.dumps([WON]),
                     "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
    "shp": {"history": "Q", "human_ref_A": WON, "human_ref_B": LOST, "labels": 1},
    "alpacafarm": {"instruction": "Q", "input": "", "output_1": LOST, "output_2": WON, "preference": 2},
    "axolotl": {"system": "S", "instruction": "Q", "chosen_response": WON, "rejected_response": LOST},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Q"}],
        "chosen": {"from": "gpt", "value": WON}, "rejected": {"from": "gpt", "value": LOST},
    },
}  # fmt: skip


@pytest.mark.parametrize("shape", PAIRS)
def test_two_answers_and_who_won(tmp_path: Path, shape: str) -> None:
    found = read(tmp_path, PAIRS[shape])
    (prompt,) = found.pool.prompts
    assert prompt_text(prompt.prompt) in ("Q", USER["content"], "system: S\n\nuser: Q")
    assert sorted(r.text for r in prompt.responses) == [LOST, WON]
    assert winner(found) == WON
    assert not any("winner" in key or "preference" in key for r in prompt.responses for key in r.meta)


def test_strength_ties_and_unknown_winners(tmp_path: Path) -> None:
    def pair(**outcome: Any) -> dict[str, Any]:
        return {"prompt": str(outcome), "response_1": WON, "response_2": LOST, **outcome}

    found = read(
        tmp_path, pair(preference_strength=-1), pair(winner="tie (bothbad)"), pair(winner="nobody"), pair(winner=None)
    )
    first = content_id(WON) < content_id(LOST)
    assert [label[3] for label in found.truth.labels] == pytest.approx([2 / 3 if first else 1 / 3, 0.5])
    assert found.pool.n_pairs == 4
    assert found.notes == ("1 values of 'winner' name no winner and were left out; their rows are used",)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "\n\nHuman: Q\n\nAssistant: ", "answers": [
            {"answer": LOST, "model": "m2", "rank": 2.0}, {"answer": WON, "model": "m1", "rank": 1.0}]},
        {"context": [said("Q", "user")], "completions": [
            {"rank": 1, "completion": [said(LOST)]}, {"rank": 0, "completion": [said(WON)]}]},
        {"prompt": "Q", "candidates": [{"text": LOST, "score": 1}, {"text": WON, "score": 5}]},
        {"input": "Q", "candidates": [LOST, WON], "ranks": [2, 1]},
        {"info": {"post": "Q"}, "summaries": [{"text": LOST}, {"text": WON}], "choice": 1},
        {"prompt": {"text": "Q", "role": "prompter", "replies": [
            {"text": LOST, "role": "assistant", "rank": 1, "replies": []},
            {"text": WON, "role": "assistant", "rank": 0, "replies": []}]}},
        {"prompt": "Q", "responses": [LOST, WON], "rewards": [0.5, "2"]},
        {"instruction": "Q", "generations": json.dumps([LOST, WON]), "ratings": "[1, 5]"},
    ],
)  # fmt: skip
def test_lists_of_ranked_answers(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read(tmp_path, row)
    (prompt,) = found.pool.prompts
    assert prompt_text(prompt.prompt) == "Q"
    assert [r.text for r in prompt.responses] == [LOST, WON]
    quality = [found.truth.quality[prompt.prompt_id, r.response_id] for r in prompt.responses]
    assert quality[0] < quality[1]


def test_what_an_item_of_a_list_says_is_kept_or_told(tmp_path: Path) -> None:
    items = [{"text": LOST, "score": 0, "id": 7, "votes": 3}, {"text": WON, "score": 2, "id": 8}]
    found = read(tmp_path, {"prompt": "Q", "candidates": items})
    (prompt,) = found.pool.prompts
    assert {r.response_id: found.truth.quality[prompt.prompt_id, r.response_id] for r in prompt.responses} == {
        "7": 0.0, "8": 2.0,
    }  # fmt: skip
    assert found.notes == ("1 answers hold the field 'votes', which is not used",)


def test_every_turn_of_a_tree_with_two_answers_is_a_prompt(tmp_path: Path) -> None:
    def node(text: str, role: str, *replies: Any) -> dict[str, Any]:
        return {"text": text, "role": role, "message_id": text, "replies": list(replies)}

    deeper = node("More?", "prompter", node("d", "assistant"), node("e", "assistant"))
    tree = node("Q", "prompter", node("a", "assistant", deeper), node("b", "assistant"))
    found = read(tmp_path, {"prompt": tree}, {"prompt": node("R", "prompter", node("c", "assistant"))})
    assert [prompt_text(p.prompt) for p in found.pool.prompts] == ["Q", "user: Q\n\nassistant: a\n\nuser: More?"]
    assert (found.rows_used, len(found.rejects)) == (1, 1)


def test_unpaired_rows_of_one_prompt_are_its_answers(tmp_path: Path) -> None:
    found = read(tmp_path, *({"prompt": [USER], "completion": [said(t)], "label": t == WON} for t in (WON, LOST)))
    assert sorted(found.truth.quality.values()) == [0.0, 1.0]
    assert len(found.pool.prompts[0].responses) == 2


def test_the_command_line_takes_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Frage,Antwort,Note\nQ,a,1\nQ,b,x\n", encoding="utf-8")
    _, told = run("check", path, home=tmp_path, status=1)
    assert "--map prompt=COLUMN,response=COLUMN" in told
    result, _ = run("check", path, "--map", "prompt=Frage,response=Antwort,quality=Note", "--json", home=tmp_path)
    assert (result["rows"], result["rows_used"], result["known_outcomes"]["quality"]) == (2, 2, 1)
    _, told = run("check", path, "--map", "prompt=Fragen,response=Antwort", home=tmp_path, status=1)
    assert "columns are Frage, Antwort, Note" in told
    for wrong, words in (("prompt", "no FIELD=COLUMN"), ("a=b", "fields are prompt"), ("prompt=a,prompt=b", "twice")):
        with pytest.raises(PoolError, match=words):
            parse_mapping([wrong])
