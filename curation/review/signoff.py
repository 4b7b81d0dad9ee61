"""Sign-off: a checklist, a second person, a frozen batch; and the check that nothing was changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from curation.batch.folder import MANIFEST, REPORT, SIGNATURE, BatchFolder, read_batch
from curation.batch.shape import check_signature
from curation.errors import BatchError, SignatureError
from curation.review.checklist import checklist as checklist
from curation.review.checklist import checks_of
from curation.review.outline import outline
from curation.review.register import binding_of, record_batch
from curation.review.report import Signing, report_page
from curation.review.sealed import changed_files, contents, sent_files, to_sign
from curation.review.signing_key import key_path, normal_public, private_key, public_hex, signed_by
from curation.review.store.read_only import store_to_read
from curation.review.store.store import Store, open_store
from curation.system.files import parse_json, read_text
from curation.system.outputs import holding_its_place

FORMAT = 1
UNTOLD = "of an earlier version"
SELF_SIGN = "CURATION_SELF_SIGN"
SIGNATURE_MOST = 256 << 20  # bytes; it holds 16 digits of every record


@dataclass(frozen=True)
class Verdict:
    """Whether a signed batch is what was signed. problems: where and what, in words. signed_by, at: of the signature.

    void: the signature is sound, but decisions have changed since. key_known: the key is this machine's own, or the one
    that was named; without one nobody can say whose signature it is. sent: problems with files that went out; they are
    among `problems`, and bear neither on the batch nor on what is exported or signed next. public_key: of the
    signature; foreign: the problem that it is not the key that was expected, empty where it is.
    """

    batch_id: str
    signed_by: str
    at: str
    problems: tuple[str, ...]
    void: bool
    notes: tuple[str, ...] = ()
    key_known: bool = True
    sent: tuple[str, ...] = ()
    public_key: str = ""
    foreign: str = ""

    @property
    def only_another_key(self) -> bool:
        """Whether nothing is wrong with the batch but that another key signed it than the one known here."""
        return bool(self.foreign) and not set(self.problems) - set(self.sent) - {self.foreign}

    @property
    def holds(self) -> bool:
        """Whether everything is as it was signed."""
        return not self.problems

    @property
    def batch_holds(self) -> bool:
        """Whether the batch is as it was signed with a known key, whatever became of files that went out."""
        return self.key_known and not set(self.problems) - set(self.sent)

    def sentence(self) -> str:
        """For people, in one line."""
        if not self.holds:
            return f"batch {self.batch_id} is NOT as it was signed by {self.signed_by} at {self.at}"
        if not self.key_known:
            return (
                f"batch {self.batch_id} fits its signature, but no key is known here, so whose it is cannot be told "
                f"(it says {self.signed_by}, at {self.at}): ask for the public key and give it (--public-key)"
            )
        return f"batch {self.batch_id} is as it was signed by {self.signed_by} at {self.at}"


@holding_its_place
def sign_batch(
    folder: str | Path,
    *,
    who: str,
    acknowledged: Sequence[str] = (),
    new_key: bool = False,
    tested: str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Freeze a batch: write `report.html` and `signature.json`, signed, beside what it covers. Raises SignatureError,
    BatchError or StoreError.

    acknowledged: keys of health findings that the signer takes; they stand in the signed checklist. new_key: make a key
    where the one that signed before is missing. tested: what outcomes say of such a design, for the report. A batch
    that is signed already is refused, unless later decisions have made that signature void. Nothing is signed but what
    was read at the beginning: a folder or decisions that change meanwhile are refused.
    """
    batch = read_batch(folder)
    opened = store or open_store()
    record_batch(opened, batch, who=who, role="approver")
    files = to_sign(contents(batch.path))
    words, decided = opened.decided(batch.batch_id)
    checks = checks_of(batch, words, acknowledged=acknowledged)
    failed = [check for check in checks if check.required and not check.holds]
    if failed:
        raise SignatureError(
            f"batch {batch.batch_id} cannot be signed: {'; '.join(f'{c.name.lower()}: {c.figure}' for c in failed)}."
        )
    _not_signed_already(batch, opened)
    before = _last_key(opened)
    key = _key_to_sign(before, new_key=new_key)
    _unchanged(batch, files)
    page = report_page(
        batch,
        Signing(
            outline(batch, opened), checks, decided, _head(opened), who, tuple(acknowledged), tested, public_hex(key)
        ),
    )
    files = {**files, REPORT: hashlib.sha256(page).hexdigest()}
    body = {"files": files, "checklist": [asdict(check) for check in checks], "public_key": public_hex(key)}
    second = os.environ.get(SELF_SIGN, "") != "1"
    event, decisions = opened.record_signature(
        batch.batch_id, who=who, body=body, second_person=second, expected=decided
    )
    content = {
        "format": FORMAT,
        "batch_id": batch.batch_id,
        "signed_by": event.who,  # the name as it is kept
        "at": event.at,
        "second_person": second,
        "files": files,
        "whole": True,  # hidden files are among them, and there is nothing else
        "records": list(batch.lines),
        "decisions": decisions,
        "checklist": [asdict(check) for check in checks],
        "head": {"event": event.id, "hash": event.hash},
        "public_key": public_hex(key),
    }
    signature = {**content, "signature": key.sign(_bytes(content)).hex()}
    _write(batch.path / REPORT, page)
    _write(batch.path / SIGNATURE, (json.dumps(signature, indent=1, ensure_ascii=False) + "\n").encode())
    notes = []
    if before is not None and before not in (UNTOLD, public_hex(key)):
        notes.append(f"signed with another key than the last time ({before[:16]}): tell whoever verifies")
    return {
        **signature,
        "checks": len(checks),
        "warnings": [c.name for c in checks if not c.holds],
        "notes": notes,
    }


def _not_signed_already(batch: BatchFolder, store: Store) -> None:
    """Raise SignatureError where a signature holds already, or where nobody should sign."""
    signature = read_signature(batch.path)
    if signature is None:
        problems = store.log_report(batch.batch_id).problems
        if problems:
            raise SignatureError(f"batch {batch.batch_id} is not signed, for the store does not hold: {problems[0]}.")
        return
    theirs = str(signature.get("public_key"))  # a void signature may be followed by one with another key
    verdict = verify_batch(batch.path, store=store, trusted=theirs, exports=False, signature=signature)
    if verdict.holds:
        raise SignatureError(
            f"batch {batch.batch_id} is signed already, by {verdict.signed_by} (public key {theirs[:16]}); nothing was "
            "done."
        )
    if not verdict.void:
        raise SignatureError(
            f"batch {batch.batch_id} was changed after it was signed ({verdict.problems[0]}); see `verify`, and "
            "solve again."
        )


def _last_key(store: Store) -> str | None:
    """The public key that signed last in this store, `UNTOLD` for a version that did not note it; None before any."""
    last = next((event for event in reversed(store.events()) if event.kind == "sign"), None)
    return None if last is None else str(last.body.get("public_key") or UNTOLD)


def _key_to_sign(before: str | None, *, new_key: bool) -> Ed25519PrivateKey:
    """The key; made where nothing was signed before. Raises SignatureError where the one that did is missing.

    before: the public key that signed last, None for nothing signed.
    """
    key = private_key(create=False)
    if key is None and before is not None and not new_key:
        raise SignatureError(
            f"the signing key {key_path()} is missing, and batches were signed with one before (public key "
            f"{before[:16]}); put it back, or sign with --new-key: what it signed then needs --public-key to verify."
        )
    made = key or private_key()
    if made is None:
        raise SignatureError("there is no signing key, and none could be made.")
    return made


def _unchanged(batch: BatchFolder, files: Mapping[str, str]) -> None:
    """Raise SignatureError where the folder is not, or no longer, what the checklist was made from."""
    now = to_sign(contents(batch.path))
    changed = [name for name in {**files, **now} if files.get(name) != now.get(name)]
    changed += [name for name, digest in batch.digests.items() if files.get(name) != digest]
    if changed:
        raise SignatureError(
            f"batch {batch.batch_id} changed while it was being signed ({', '.join(sorted(set(changed)))}), so nothing "
            "was signed; look at it again, then sign."
        )


def _head(store: Store) -> str | None:
    """The hash of the newest event, None for an empty trail."""
    events = store.events()
    return events[-1].hash if events else None


def _write(path: Path, content: bytes) -> None:
    """A file of the batch folder, whole or not there."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        staging.replace(path)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise SignatureError(
            f"{path} could not be written ({error.strerror or error}), so the batch is not signed; mend that and sign "
            "again."
        ) from None


def read_signature(folder: str | Path) -> dict[str, Any] | None:
    """What was signed, None for an unsigned batch. Raises SignatureError for a file that cannot be read."""
    path = Path(folder) / SIGNATURE
    if not os.path.lexists(path):
        return None
    text = read_text(path, most=SIGNATURE_MOST, error=SignatureError, remedy="the signature was damaged")
    found = parse_json(text, place=str(path), error=SignatureError, remedy="the signature was damaged")
    return check_signature(found, str(path))


def verify_batch(
    folder: str | Path,
    *,
    store: Store | None = None,
    trusted: str | None = None,
    exports: bool = True,
    signature: dict[str, Any] | None = None,
) -> Verdict:
    """Compare a signed batch with what was signed, the audit log and the files that went out.

    trusted: public key (hex) the signature must be made with; default: this machine's own, where there is one. exports:
    whether files that went out are compared too. signature: as it was read before. Raises SignatureError for a batch
    that is not signed.
    """
    path = Path(folder)
    signature = read_signature(path) if signature is None else signature
    if signature is None:
        raise SignatureError(f"{path} is not signed; sign it first (`sign DIR --as NAME`).")
    with store_to_read() if store is None else nullcontext(store) as opened:
        return _verdict(path, signature, opened, trusted=trusted, exports=exports)


def _verdict(path: Path, signature: dict[str, Any], opened: Store, *, trusted: str | None, exports: bool) -> Verdict:
    problems, known, foreign = _signature_problems(signature, trusted)
    found, notes = changed_files(path, contents(path), signature)
    problems += found
    if not known:
        notes.append("no key is known here: the signature fits its own public key, whose owner must be asked")
    batch_id, held = str(signature.get("batch_id")), None
    try:
        batch = read_batch(path)
        batch_id, held = batch.batch_id, binding_of(batch)
    except BatchError as error:
        problems.append(str(error))
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(f"{MANIFEST}: it lacks what every manifest has ({error})")
    if batch_id != signature.get("batch_id"):
        problems.append(f"{MANIFEST}: batch {batch_id} was signed as {signature.get('batch_id')}")
    log = opened.log_report(batch_id)
    problems += log.problems
    notes += log.notes
    differs = None if held is None or log.bound is None else log.bound.difference(held)
    if differs is not None and log.bound is not None:
        problems.append(f"{path.name}: it is not what was recorded on {log.bound.at[:10]}: {differs}")
    head = signature["head"]
    if not any(head.get("event") == number and head.get("hash") == digest for number, digest in log.heads):
        problems.append(f"audit log: event {head.get('event')}, which was signed, is gone or was made anew")
    sound = not problems
    if log.decisions is not None and log.decisions != signature.get("decisions"):
        problems.append("decisions: they changed after signing, so the signature is void: decide and sign again")
    sent: list[str] = []
    if exports:
        sent, gone = sent_files(log.exports, batch_id)
        notes += gone
    if not log.problems:
        opened.keep_head()
    return Verdict(
        batch_id, str(signature.get("signed_by")), str(signature.get("at")), (*problems, *sent),
        void=bool(problems) and sound, notes=tuple(notes), key_known=known, sent=tuple(sent),
        public_key=str(signature.get("public_key")), foreign=foreign,
    )  # fmt: skip


def _signature_problems(signature: dict[str, Any], trusted: str | None) -> tuple[list[str], bool, str]:
    """What is wrong with the signature itself, whether a key is known here, and the problem that it is another one."""
    problems = []
    public = str(signature.get("public_key"))
    content = {key: value for key, value in signature.items() if key != "signature"}
    if not signed_by(public, str(signature["signature"]), _bytes(content)):
        problems.append(f"{SIGNATURE}: it was changed after signing, the signature does not fit its content")
    own = private_key(create=False) if trusted is None else None
    expected = normal_public(trusted) if trusted is not None else None if own is None else public_hex(own)
    foreign = ""
    if expected is not None and public != expected:
        foreign = f"{SIGNATURE}: signed with another key ({public[:16]}...)"
        problems.append(foreign)
    return problems, expected is not None, foreign


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
