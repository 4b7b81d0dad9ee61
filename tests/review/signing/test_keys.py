"""The signing key: every state it can be in is a sentence, and nobody's signature is taken for somebody's."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from curation.cli.app import app
from curation.errors import ExportError, SignatureError
from curation.exchange.send import export_signed
from curation.review.signing_key import KEY, normal_public, private_key, public_hex
from curation.review.signoff import sign_batch, verify_batch
from tests.desk.signing import batch_id, pairs


def pem(key: Any, password: bytes | None = None) -> bytes:
    how = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


STATES: dict[str, tuple[Callable[[Path], object], str]] = {
    "encrypted": (lambda p: _write(p, pem(Ed25519PrivateKey.generate(), b"secret")), "is encrypted.*store it decrypted"),
    "world-writable": (lambda p: _write(p, pem(Ed25519PrivateKey.generate()), 0o666), r"changed by others \(mode 666\).*chmod 600"),
    "group-writable": (lambda p: _write(p, pem(Ed25519PrivateKey.generate()), 0o660), "changed by others"),
    "RSA": (lambda p: _write(p, pem(rsa.generate_private_key(65537, 2048))), "another kind than Ed25519"),
    "public half": (
        lambda p: _write(p, Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        "holds no private key",
    ),
    "garbage": (lambda p: _write(p, b"\x00\xffno key"), "holds no private key"),
    "empty": (lambda p: _write(p, b""), "holds no private key"),
    "cut off": (lambda p: _write(p, pem(Ed25519PrivateKey.generate())[:60]), "holds no private key"),
    "folder": (lambda p: p.mkdir(), "is no file"),
    "pipe": (lambda p: os.mkfifo(p, 0o600), "is no file"),
    "broken link": (lambda p: p.symlink_to("nowhere"), "cannot be used"),
    "loop": (lambda p: p.symlink_to(p), "names no usable place|cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_key_that_cannot_be_used_is_a_sentence_when_signing_and_when_verifying(
    desk: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    folder, store = desk
    made, words = STATES[name]
    made(tmp_path / "key.pem")
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    for call in (lambda: sign_batch(folder, who="cat", store=store), lambda: private_key(create=False)):
        with pytest.raises(SignatureError, match=words) as caught:
            call()
        assert str(tmp_path / "key.pem") in str(caught.value)
    assert "sign" not in [event.kind for event in store.events()]


def test_a_hard_link_of_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    private_key()
    (tmp_path / "home").mkdir()
    os.link(tmp_path / "key.pem", tmp_path / "home" / "key.pem")
    with pytest.raises(SignatureError, match=r"has 2 names \(hard links\)"):
        private_key()


def test_a_home_that_is_nobodys_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "~nosuchperson/key.pem")
    with pytest.raises(SignatureError, match="names no usable place"):
        private_key()


def test_many_who_need_the_first_key_at_once_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    with ThreadPoolExecutor(8) as pool:
        made = [public_hex(key) for key in pool.map(lambda _: private_key(), range(16)) if key is not None]
    assert len(made) == 16
    assert len(set(made)) == 1
    assert stat.S_IMODE((tmp_path / "keys" / "key.pem").stat().st_mode) == 0o600


def test_a_missing_key_is_not_replaced_without_a_word(desk: Any) -> None:
    folder, store = desk
    first = sign_batch(folder, who="cat", store=store)["public_key"]
    Path(os.environ[KEY]).unlink()
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    with pytest.raises(SignatureError, match=f"is missing.*public key {first[:16]}.*--new-key"):
        sign_batch(folder, who="cat", store=store)
    assert not Path(os.environ[KEY]).exists()
    second = sign_batch(folder, who="cat", new_key=True, store=store)["public_key"]
    assert second != first
    store.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")
    Path(os.environ[KEY]).write_bytes(pem(Ed25519PrivateKey.generate()))
    assert any("another key than the last time" in note for note in sign_batch(folder, who="cat", store=store)["notes"])
    assert verify_batch(folder, store=store).holds


@pytest.mark.parametrize(
    "how", ["as it is", "capitals", "blanks round it", "newline", "blanks inside", "in a pasted block"]
)
def test_a_public_key_is_taken_however_it_was_typed(desk: Any, how: str) -> None:
    folder, store = desk
    key = sign_batch(folder, who="cat", store=store)["public_key"]
    typed = {
        "as it is": key,
        "capitals": key.upper(),
        "blanks round it": f"  {key}\t",
        "newline": f"{key}\n",
        "blanks inside": " ".join(re.findall("........", key)),
        "in a pasted block": f"{key[:32]}\r\n{key[32:]}\r\n",
    }[how]
    assert verify_batch(folder, store=store, trusted=typed).holds


@pytest.mark.parametrize("text", ["", " ", "zz", "ab", "0" * 63, "0" * 65, "g" * 64, "٣" * 64, "0x" + "0" * 62])
def test_what_is_no_public_key_is_refused(desk: Any, text: str) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    with pytest.raises(SignatureError, match="is not 64 hex digits"):
        verify_batch(folder, store=store, trusted=text)
    with pytest.raises(SignatureError):
        normal_public(text)


def test_without_a_known_key_nobody_is_named_as_the_signer(
    desk: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody re-signed a batch as the boss, with a key of his own; here nobody knows either key."""
    folder, store = desk
    made = sign_batch(folder, who="the boss", store=store)
    monkeypatch.setenv(KEY, str(tmp_path / "nowhere" / "key.pem"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    verdict = verify_batch(folder, store=store)
    assert (verdict.holds, verdict.key_known, verdict.batch_holds) == (True, False, False)
    told = CliRunner().invoke(app, ["verify", str(folder)])
    assert told.exit_code == 1
    assert "as it was signed by" not in told.output
    assert "no key is known here" in " ".join(told.output.split())
    plain = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    assert json.loads(plain.stdout)["key_known"] is False
    with pytest.raises(ExportError, match="no key is known here"):
        export_signed(folder, to="csv", out=tmp_path / "x.csv", who="cat", store=store)
    known = CliRunner().invoke(app, ["verify", str(folder), "--public-key", made["public_key"]])
    assert known.exit_code == 0
    assert "is as it was signed by the boss" in " ".join(known.output.split())
    export_signed(folder, to="csv", out=tmp_path / "x.csv", who="cat", trusted=made["public_key"], store=store)


ODD: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    "\x00",
    [],
    [1],
    [[]],
    {},
    {"x": 1},
    {"event": [], "hash": {}},
    "[" * 50,
    10**30,
]


def test_a_signature_of_any_other_content_is_a_sentence_or_found(desk: Any) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    path = folder / "signature.json"
    kept = json.loads(path.read_text())
    (folder / "batch.jsonl").write_text((folder / "batch.jsonl").read_text() + " ")  # so that lines are compared, too
    for name in [*kept, "whole"]:
        for odd in ODD:
            path.write_text(json.dumps({**kept, name: odd}))
            with suppress(SignatureError):
                assert verify_batch(folder, store=store).problems, (name, odd)
    for text in ("", "[]", "null", "{", "[" * 100_000, '{"files": NaN}', "\ud800"):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(SignatureError, match=r"the signature was damaged|it was damaged or changed"):
            verify_batch(folder, store=store)


def test_a_workspace_that_is_read_only_can_be_verified(
    desk: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    store.close()
    kept = tmp_path / "backup"
    kept.mkdir()
    import shutil
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(store.place)) as source, closing(sqlite3.connect(kept / "pairwright.db")) as target:
        source.backup(target)
    shutil.copytree(folder, kept / "batch")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{kept / 'pairwright.db'}")
    honest = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: False if mode & os.W_OK else honest(path, mode))
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    verdict = verify_batch(kept / "batch")
    assert verdict.holds, verdict.problems
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
