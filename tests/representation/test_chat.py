"""What chat templates put round an answer, and that features stand where the model's own answers end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from curation.errors import RepresentationError
from curation.representation import encoder as encoder_module
from curation.representation.chat import ChatTemplate
from curation.representation.encoder import encode
from curation.representation.extract import extract
from curation.representation.features_file import read_features
from curation.representation.layout import Layout
from curation.representation.prefix import saves
from tests.desk.tiny_models import TEXTS, save_model, tokenizer

PLAIN_TURNS = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}"
TURNS = PLAIN_TURNS + "[stop]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
BLANK = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + '[stop]' }}{% else %}"
    "[user]{{ m['content'] }}[assistant]{% endif %}{% endfor %}"
)
OPENS = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[stop]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)
EMPTY = (
    "{% for m in messages %}[{{ m['role'] }}]{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n"
    "{% endif %}{{ m['content'] }}[stop]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CONTROL = ["[user]", "[assistant]", "[system]", "[stop]"]


def words(template: str | dict[str, str], *, kind: str = "gpt2") -> Any:
    """The tiny tokenizer with control tokens of a chat, none of which is its end token."""
    made = tokenizer(kind)
    made.add_special_tokens({"additional_special_tokens": CONTROL})
    made.chat_template = template
    return made


def sentencepiece(template: str | None) -> Any:
    """A tokenizer built as SentencePiece's are: a blank is written before every text that it is given."""
    import tokenizers

    inner = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>"))
    inner.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("\u2581"), tokenizers.normalizers.Replace(" ", "\u2581")]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", "<bos>", "<end>"],
        initial_alphabet=[chr(code) for code in range(32, 127)] + ["\n"],
        show_progress=False,
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("\u2581", "merged_with_next")  # no piece runs over a word
    inner.train_from_iterator(TEXTS * 3, trainer)
    inner.pre_tokenizer = None
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", bos_token="<bos>")
    made.chat_template = template
    return made


def tokens(made: Any, prompt: Any, answer: str) -> tuple[list[str], list[str]]:
    """Head and answer of one response, as the words of the tokenizer."""
    row = Layout(made, max_tokens=None).groups([prompt], [[answer]])[0][0]
    told = made.convert_ids_to_tokens(row.ids)
    return told[: row.start], told[row.start :]


def text(made: Any, ids: list[int]) -> str:
    return "".join(made.convert_ids_to_tokens(ids)).replace("\u0120", " ").replace("\u010a", "\n")


def test_an_answer_ends_with_what_the_template_closes_a_turn_with() -> None:
    made = words(TURNS)
    assert made.eos_token not in CONTROL
    head, said = tokens(made, "Hi", "Paris.")
    assert head[0] == "[user]"
    assert head[-1] == "[assistant]"
    assert said[-1] == "[stop]"
    assert said.count("[stop]") == 1
    layout = Layout(made, max_tokens=None)
    assert layout.metadata["end_of_turn"] == "[stop]"
    assert "[stop] closes every response" in layout.description
    made.chat_template = PLAIN_TURNS + "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    assert tokens(made, "Hi", "Paris.")[1][-1] == made.eos_token  # a template that closes nothing


def test_the_state_is_read_at_the_templates_end_of_turn(tmp_path: Path) -> None:
    import torch

    made = words(TURNS)
    config = transformers.GPT2Config(vocab_size=len(made), n_embd=32, n_layer=2, n_head=2, initializer_range=0.2)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    ids = made("[user]Where?[stop][assistant]In Paris.[stop]", add_special_tokens=False)["input_ids"]
    answer = made("In Paris.[stop]", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True)
    logs = torch.log_softmax(out.logits[0].double(), -1)
    by_hand = sum(float(logs[k - 1, ids[k]]) for k in range(len(ids) - len(answer), len(ids)))
    got = encode(["Where?"], [["In Paris."]], model=str(tmp_path), pooling="last", device="cpu")
    assert got.reference_logprob is not None
    assert got.reference_logprob[0] == pytest.approx(by_hand, abs=1e-4)
    np.testing.assert_allclose(got.matrix[0], out.hidden_states[-1][0, -1].numpy(), atol=1e-5)
    assert got.metadata["end_of_turn"] == "[stop]"
    assert got.metadata["reading"] == str(encoder_module.VERSION)


def test_a_blank_that_the_template_writes_belongs_to_the_answer_and_its_trim_is_done() -> None:
    made = words(BLANK)
    alone = made.convert_ids_to_tokens(made(" Paris.", add_special_tokens=False)["input_ids"])
    head, said = tokens(made, "Hi", " Paris. ")
    assert said == [*alone, "[stop]"]
    assert head[-1] == "[assistant]"
    assert Layout(made, max_tokens=None).metadata["before_answer"] == " "
    assert tokens(words(TURNS), "Hi", " Paris. ")[1] != said  # a template that trims nothing keeps the blanks


def test_an_open_thinking_block_is_not_answered_into() -> None:
    made = words(OPENS)
    assert made.apply_chat_template([{"role": "user", "content": "q"}], tokenize=False, add_generation_prompt=True)[
        -8:
    ].startswith("<think>")
    for answer, ending in (
        ("Paris.", ""),  # as a finished answer
        ("<think>\nFrance\n</think>\nParis.", ""),  # brings its own block
        ("France\n</think>\nParis.", "<think>\n"),  # begins inside the block that the prompt opened
    ):
        row = Layout(made, max_tokens=None).groups(["Hi"], [[answer]])[0][0]
        assert text(made, row.ids[: row.start]) == "[user]Hi[stop]" + "[assistant]" + ending
    assert "of the generation prompt left out" in Layout(made, max_tokens=None).description


def test_an_empty_thinking_block_stands_before_answers_without_thinking_only() -> None:
    made = words(EMPTY)
    short, own = Layout(made, max_tokens=None).groups(["Hi"], [["Paris.", "<think>\nFrance\n</think>\nParis."]])[0]
    assert text(made, short.ids[: short.start]).endswith("[assistant]<think>\n\n</think>\n\n")
    assert text(made, own.ids[: own.start]).endswith("[assistant]")
    assert not saves([short, own])  # they share no prompt


@pytest.mark.parametrize(
    ("template", "prompt_end"),
    [(None, "Assistant:"), ("{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}<end>{% endfor %}x\n", "\n")],
)
def test_the_blank_of_sentencepiece_stands_at_no_beginning_of_an_answer(template: str | None, prompt_end: str) -> None:
    made = sentencepiece(template)
    assert made.tokenize("It")[0].startswith("\u2581")
    head, said = tokens(made, "Hi", "It is wide.")
    together = made.tokenize(f"Hi {prompt_end}{'It is wide.' if template else ' It is wide.'}")
    assert said[:-1] == together[-len(said) + 1 :]
    assert said[-1] == "<end>"
    assert "\u2581" not in said[:1]
    assert head


def test_a_template_that_asks_for_the_date_gives_the_same_numbers_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    from transformers.utils import chat_template_utils

    made = words("{{ strftime_now('%d %b %Y, %A') }}" + TURNS)
    first = Layout(made, max_tokens=None).prompt_ids("Hi")

    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime(2031, 5, 6)

    chat_template_utils._compile_jinja_template.cache_clear()
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    layout = Layout(made, max_tokens=None)
    assert layout.prompt_ids("Hi") == first
    assert text(made, first).startswith("01 Jan 2025, Wednesday")
    assert "today is 2025-01-01" in layout.description
    assert "today" not in Layout(words(TURNS), max_tokens=None).description


@pytest.mark.parametrize(
    "template",
    ["{% for %}", "{{ messages[0].content + 1 }}", "{{ messages[7].content }}{{ none.x.y }}", {"tool_use": TURNS}],
)
def test_a_template_that_cannot_be_run_is_told_as_what_it_is(template: Any) -> None:
    with pytest.raises(RepresentationError, match=r"cannot render even one question \(.*\); mend or remove"):
        ChatTemplate(words(template))


def test_prompts_that_a_template_refuses_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    strict = (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must "
        "alternate') }}{% endif %}[{{ m['role'] }}]{{ m['content'] }}[stop]{% endfor %}"
    )
    save_model(tmp_path / "m", "gpt2")
    made = tokenizer("gpt2")
    made.chat_template = strict
    made.save_pretrained(tmp_path / "m")
    twice = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(RepresentationError) as told:
        extract(
            ["Hi", twice, twice],
            [["a", "b"]] * 3,
            [(f"p{x}", f"r{k}") for x in range(3) for k in range(2)],
            out=tmp_path / "f.parquet",
            model=str(tmp_path / "m"),
            device="cpu",
        )
    assert re.search(r"2 of 3 prompts .*first is prompt p1: .*user, user .*roles must alternate", str(told.value))
    assert not (tmp_path / "f.parquet").exists()


def test_features_read_by_an_earlier_version_are_readable_and_never_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "m", "gpt2")
    ids = [("p", "a"), ("p", "b")]
    options: dict[str, Any] = {"out": tmp_path / "f.parquet", "model": str(tmp_path / "m"), "device": "cpu"}
    monkeypatch.setattr("curation.representation.extract.VERSION", encoder_module.VERSION - 1)
    extract(["Hi"], [["Yes.", "No."]], ids, **options)
    monkeypatch.undo()
    assert read_features(tmp_path / "f.parquet", ids).matrix.shape[0] == 2
    with pytest.raises(RepresentationError, match="other texts or settings"):
        extract(["Hi"], [["Yes.", "No."]], ids, resume=True, **options)
