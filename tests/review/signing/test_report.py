"""The report of a sign-off: one file that loads nothing, says how pairs were approved, and is signed with the batch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import REPORT, SIGNATURE, read_batch
from curation.review.may_sign import hindrance
from curation.review.outline import outline
from curation.review.report import Signing, report_page, sample_of
from curation.review.signoff import SELF_SIGN, checklist, sign_batch, verify_batch
from curation.review.store.store import Store
from tests.desk.signing import batch_id, pairs

HOSTILE = '</pre><script>alert(1)</script><img src="https://outside.example/x">\x00\x1b[31m'


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def signing(folder: Path, store: Store, **named: Any) -> Signing:
    batch = read_batch(folder)
    return Signing(outline(batch, store), checklist(batch, store), "d" * 64, "h" * 64, **named)


def test_the_report_is_signed_with_the_batch_and_a_change_of_it_is_found(desk: Any) -> None:
    folder, store = desk
    made = sign_batch(folder, who="cat", store=store)
    page = (folder / REPORT).read_bytes()
    assert made["files"][REPORT] == hashlib.sha256(page).hexdigest()
    assert json.loads((folder / SIGNATURE).read_text())["files"][REPORT] == made["files"][REPORT]
    event = next(one for one in store.events(batch_id(folder)) if one.kind == "sign")
    assert event.body["files"][REPORT] == made["files"][REPORT]
    assert verify_batch(folder, store=store).holds
    (folder / REPORT).write_bytes(page.replace(b"Signed by cat", b"Signed by dan"))
    assert verify_batch(folder, store=store).problems == (f"{REPORT}: was changed",)
    (folder / REPORT).unlink()
    assert verify_batch(folder, store=store).problems == (f"{REPORT}: the file is gone",)
    (folder / REPORT).write_bytes(page)
    assert verify_batch(folder, store=store).holds


def test_a_void_signature_is_followed_by_a_report_of_its_own(desk: Any) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    first = (folder / REPORT).read_bytes()
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="off topic")
    assert verify_batch(folder, store=store).void
    made = sign_batch(folder, who="dan", store=store)
    second = (folder / REPORT).read_bytes()
    assert first != second
    assert f"{len(pairs(folder)) - 1} of {len(pairs(folder))} pairs are approved" in second.decode()
    assert made["files"][REPORT] == hashlib.sha256(second).hexdigest()
    assert verify_batch(folder, store=store).holds


def test_a_batch_that_may_not_be_signed_gets_no_report(desk: Any) -> None:
    folder, store = desk
    with pytest.raises(Exception, match="second person"):
        sign_batch(folder, who="ana", store=store)
    assert not (folder / REPORT).exists()


def test_a_report_loads_nothing_and_shows_texts_as_they_are(desk: Any) -> None:
    folder, store = desk
    batch = read_batch(folder)
    records = [{**r, "prompt": HOSTILE, "response_a": HOSTILE, "generator_b": HOSTILE} for r in batch.records]
    told = signing(folder, store)
    told = replace(told, outline=replace(told.outline, approved=tuple(records)), who=HOSTILE, tested=HOSTILE)
    page = Tags(report_page(replace(batch, records=records), told).decode())
    assert {tag for tag, _ in page.found} <= set(
        "html head meta title style body section h1 h2 p b table tr th td div code".split()
    )
    assert not [attrs for _, attrs in page.found if {"src", "href", "srcset", "onload", "onerror"} & set(attrs)]
    (policy,) = [
        attrs["content"] for tag, attrs in page.found if tag == "meta" and "content" in attrs and "http-equiv" in attrs
    ]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert '<script>alert(1)</script><img src="https://outside.example/x">\\x00\\x1b[31m' in page.text


def test_a_report_says_who_signed_what_and_that_it_is_not_tested(desk: Any) -> None:
    folder, store = desk
    words = Tags(report_page(read_batch(folder), signing(folder, store, who="cat")).decode()).text
    batch = read_batch(folder)
    for part in (
        "Signed by cat", batch.batch_id, batch.digests["manifest.json"], batch.digests["batch.jsonl"], "d" * 64, "h" * 64,
        "Not tested on outcomes", "by one act on everything a filter showed", "verify FOLDER", "Budget8", "Quota a",
        "within", "differ in length",
    ):  # fmt: skip
        assert part in words, part
    told = Tags(report_page(batch, signing(folder, store, tested="Labels earned more.")).decode()).text
    assert "DRAFT, signed by nobody" in told
    assert "Labels earned more." in told
    assert "Not tested" not in told


def test_sample_pairs_are_ten_that_nobody_chose(desk: Any) -> None:
    records = [{"pair_id": f"{n:016x}"} for n in range(40)]
    drawn = sample_of("b" * 16, records)
    assert len(drawn) == 10 == len({one["pair_id"] for one in drawn})
    assert drawn == sample_of("b" * 16, records[::-1])
    assert drawn != sample_of("c" * 16, records)


def test_an_outline_tells_reading_from_one_act_and_counts_labels(desk: Any) -> None:
    folder, store = desk
    batch, keys = read_batch(folder), pairs(folder)
    for key in keys[:3]:
        store.decide(batch.batch_id, key, "approve", who="eve")
    store.decide(batch.batch_id, keys[3], "reject", who="eve", reason="off topic")
    told = outline(batch, store)
    assert (told.manner.one_by_one, told.manner.at_once, told.manner.acts) == (3, len(keys) - 4, 1)
    assert told.manner.by == {"bea": len(keys) - 4, "eve": 3}
    assert "3 decided one by one" in told.manner.sentence()
    assert told.labels == sum(r["copies"] for r in batch.records if r["pair_id"] != keys[3])
    assert sum(told.strata.values()) == told.labels
    assert told.pace.times == 0
    assert "an assumption" in told.pace.words()
    assert told.hours(3600) == told.labels


def test_who_may_not_sign_is_told_why_before_it_is_tried(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = desk
    batch = read_batch(folder)
    checks = checklist(batch, store)
    assert hindrance(batch, store, "cat", checks) is None
    assert "ana proposed this batch" in str(hindrance(batch, store, "ana", checks))
    monkeypatch.setenv(SELF_SIGN, "1")
    assert hindrance(batch, store, "ana", checks) is None
    store.decide(batch.batch_id, pairs(folder)[0], "flag", who="bea")
    assert "no pair is flagged (1 flagged)" in str(hindrance(batch, store, "cat", checklist(batch, store)))
    store.set_role("ada", "admin", who="ada")
    store.set_role("vic", "viewer", who="ada")
    assert "takes the role approver" in str(hindrance(batch, store, "vic", checks))


def test_another_signing_key_is_told_as_that_and_nothing_else(
    desk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, store = desk
    made = sign_batch(folder, who="cat", store=store)
    from curation.review.signing_key import KEY, private_key

    monkeypatch.setenv(KEY, str(tmp_path / "another" / "key.pem"))
    private_key()
    verdict = verify_batch(folder, store=store)
    assert verdict.only_another_key
    assert not verdict.batch_holds
    assert verdict.public_key == made["public_key"]
    assert verify_batch(folder, store=store, trusted=made["public_key"]).batch_holds
    (folder / "design.parquet").write_bytes(b"changed")
    assert not verify_batch(folder, store=store).only_another_key
