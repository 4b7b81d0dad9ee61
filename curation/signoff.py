"""Sign-off: a checklist, a second person, a frozen batch; and the check that nothing was changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curation.batch import MANIFEST, RECORDS, SIGNATURE, BatchFolder, read_batch
from curation.batch_health import batch_warnings
from curation.errors import BatchError, ExportError, SignatureError
from curation.exchange_formats.common import Order
from curation.exchange_formats.export import Format
from curation.handback import information_of
from curation.handover import export_batch, record_batch
from curation.review.store import Store, open_store
from curation.signing import private_key, public_hex, signed_by

FORMAT = 1
SELF_SIGN = "CURATION_SELF_SIGN"
GOOD = 0.8  # efficiency of what was approved from which the checklist is content


@dataclass(frozen=True)
class Check:
    """One line of the checklist. required: must hold before a batch can be signed."""

    name: str
    holds: bool
    figure: str
    required: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a signed batch is what was signed. problems: where and what, in words. signed_by, at: of the signature.

    void: the signature is sound, but decisions have changed since.
    """

    batch_id: str
    signed_by: str
    at: str
    problems: tuple[str, ...]
    void: bool
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything is as it was signed."""
        return not self.problems


def checklist(batch: BatchFolder, store: Store, *, acknowledged: Sequence[str] = ()) -> list[Check]:
    """What must hold, and what a signer should know, before a batch goes out.

    acknowledged: keys of health findings that the signer has read and takes; `all` is every one.
    """
    words = {key: made.decision for key, made in store.decisions(batch.batch_id).items()}
    counts = Counter(words.get(record["pair_id"], "clear") for record in batch.records)
    manifest = batch.manifest
    approved = {key for key, word in words.items() if word == "approve"}
    told = information_of(batch, {r["pair_id"]: r["copies"] for r in batch.records if r["pair_id"] in approved})
    checks = [
        Check("Every pair is decided", not counts["clear"], f"{counts['clear']} undecided", True),
        Check("No pair is flagged", not counts["flag"], f"{counts['flag']} flagged", True),
        Check("Something is approved", bool(approved), f"{counts['approve']} approved", True),
        Check(
            "The design is certified",
            manifest["stopped"] == "certificate",
            f"gap {manifest['gap']:.1e}, open {manifest['open']:.1e}",
            False,
        ),
    ]
    if told is not None and manifest.get("lower_bound"):
        efficiency = manifest["lower_bound"] / told["realised"]
        checks.append(
            Check(
                "What was approved is near the best possible batch",
                efficiency >= GOOD,
                f"efficiency {efficiency:.1%} of {manifest['efficiency']:.1%} planned",
                False,
            )
        )
    checks += _quota_checks(batch, approved)
    for finding in batch_warnings(batch, approved):
        known = finding.key in acknowledged or "all" in acknowledged
        figure = f"{finding.value:,.4g} {finding.unit}; --acknowledge {finding.key}"
        checks.append(Check(f"Read and taken: {finding.title}", known, figure, True))
    if manifest.get("cost_total") is not None:
        budget = manifest["settings"]["budget"]
        checks.append(
            Check(
                "The cost is within the budget",
                manifest["cost_total"] <= budget * (1 + 1e-9),
                f"{manifest['cost_total']:g} of {budget:g} for the whole batch",
                False,
            )
        )
    return checks


def _quota_checks(batch: BatchFolder, approved: set[str]) -> list[Check]:
    labels: Counter[str] = Counter()
    for record in batch.records:
        if record["pair_id"] in approved:
            labels[record["stratum"] or "(none)"] += record["copies"]
    if batch.manifest["settings"].get("cost"):
        return []  # quotas are in cost units there
    out = []
    for name, (low, high) in (batch.manifest.get("quotas") or {}).items():
        top = float("inf") if high is None else high
        out.append(
            Check(f"Quota {name}", low <= labels[name] <= top, f"{labels[name]} approved of {low:g} to {top:g}", False)
        )
    return out


def sign_batch(
    folder: str | Path, *, who: str, acknowledged: Sequence[str] = (), store: Store | None = None
) -> dict[str, Any]:
    """Freeze a batch: write `signature.json`, signed, beside what it covers. Raises SignatureError or StoreError.

    acknowledged: keys of health findings that the signer takes; they stand in the signed checklist.

    A batch that is signed already is refused, unless later decisions have made that signature void.
    """
    batch = read_batch(folder)
    opened = store or open_store()
    record_batch(opened, batch, who=who)
    checks = checklist(batch, opened, acknowledged=acknowledged)
    failed = [check for check in checks if check.required and not check.holds]
    if failed:
        raise SignatureError(
            f"batch {batch.batch_id} cannot be signed: {'; '.join(f'{c.name.lower()}: {c.figure}' for c in failed)}."
        )
    if (batch.path / SIGNATURE).exists():
        verdict = verify_batch(folder, store=opened)
        if verdict.holds:
            raise SignatureError(f"batch {batch.batch_id} is signed already, by {verdict.signed_by}; nothing was done.")
        if not verdict.void:
            raise SignatureError(
                f"batch {batch.batch_id} was changed after it was signed ({verdict.problems[0]}); see `verify`, and "
                "solve again."
            )
    key = private_key()
    if key is None:
        raise SignatureError("there is no signing key, and none could be made.")
    files = _hashes(batch.path)
    body = {"files": files, "checklist": [asdict(check) for check in checks]}
    second = os.environ.get(SELF_SIGN, "") != "1"
    event, decisions = opened.record_signature(batch.batch_id, who=who, body=body, second_person=second)
    content = {
        "format": FORMAT,
        "batch_id": batch.batch_id,
        "signed_by": who,
        "at": event.at,
        "second_person": second,
        "files": files,
        "records": _record_hashes(batch.path),
        "decisions": decisions,
        "checklist": [asdict(check) for check in checks],
        "head": {"event": event.id, "hash": event.hash},
        "public_key": public_hex(key),
    }
    signature = {**content, "signature": key.sign(_bytes(content)).hex()}
    staging = batch.path / f".{SIGNATURE}.{os.getpid()}"
    staging.write_text(json.dumps(signature, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    staging.replace(batch.path / SIGNATURE)
    return {**signature, "checks": len(checks), "warnings": [c.name for c in checks if not c.holds]}


def export_signed(
    folder: str | Path,
    *,
    to: Format,
    out: str | Path,
    order: Order = "random",
    force: bool = False,
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Write the approved pairs of a signed batch, with the signed head of the audit log in every row.

    Raises ExportError for a batch that is not signed, or is no longer what was signed.
    """
    opened = store or open_store()
    batch = read_batch(folder)
    signature = read_signature(folder)
    if signature is None:
        raise ExportError(
            f"batch {batch.batch_id} is not signed; sign it (`sign DIR --as NAME`), or export it with --unsigned, and "
            "every row will be marked as unsigned."
        )
    verdict = verify_batch(folder, store=opened, exports=False)
    if not verdict.holds:
        raise ExportError(
            f"batch {batch.batch_id} is not what was signed ({verdict.problems[0]}); see `verify`, then sign again."
        )
    head = str(signature["head"]["hash"])
    return export_batch(folder, to=to, out=out, order=order, audit_head=head, force=force, who=who, store=opened)


def read_signature(folder: str | Path) -> dict[str, Any] | None:
    """What was signed, None for an unsigned batch. Raises SignatureError for a file that cannot be read."""
    path = Path(folder) / SIGNATURE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"files", "records", "head", "signature"} <= set(found):
            raise ValueError("parts are missing")
    except (OSError, ValueError) as error:
        raise SignatureError(f"{path} cannot be read ({error}); the signature was damaged.") from None
    return dict(found)


def verify_batch(
    folder: str | Path, *, store: Store | None = None, trusted: str | None = None, exports: bool = True
) -> Verdict:
    """Compare a signed batch with what was signed, the audit log and the files that went out.

    trusted: public key (hex) the signature must be made with; default: this machine's own, where there is one.
    Raises SignatureError for a batch that is not signed.
    """
    path = Path(folder)
    signature = read_signature(path)
    if signature is None:
        raise SignatureError(f"{path} is not signed; sign it first (`sign DIR --as NAME`).")
    opened = store or open_store()
    problems, notes = [], []
    content = {key: value for key, value in signature.items() if key != "signature"}
    if not signed_by(str(signature.get("public_key")), str(signature["signature"]), _bytes(content)):
        problems.append(f"{SIGNATURE}: it was changed after signing, the signature does not fit its content")
    own = private_key(create=False)
    expected = trusted or (public_hex(own) if own is not None else None)
    if expected is None:
        notes.append("no key is known here: the signature fits its own public key, whose owner must be asked")
    elif signature.get("public_key") != expected:
        problems.append(f"{SIGNATURE}: signed with another key ({str(signature.get('public_key'))[:16]}...)")
    problems += _changed_files(path, signature)
    try:
        batch_id = read_batch(path).batch_id
    except BatchError as error:
        batch_id = str(signature.get("batch_id"))
        problems.append(str(error))
    if batch_id != signature.get("batch_id"):
        problems.append(f"{MANIFEST}: batch {batch_id} was signed as {signature.get('batch_id')}")
    problems += opened.check_log(batch_id)
    problems += _head(opened, signature)
    sound = not problems
    if opened.decisions_digest(batch_id) != signature.get("decisions"):
        problems.append("decisions: they changed after signing, so the signature is void: decide and sign again")
    if exports:
        for sent in opened.exports(batch_id):
            file = Path(sent.file)
            if not file.exists():
                notes.append(f"export {file.name}: no longer where it was written")
            elif hashlib.sha256(file.read_bytes()).hexdigest() != sent.sha256:
                problems.append(f"export {file}: was changed after it was written")
                sound = False
    return Verdict(
        batch_id, str(signature.get("signed_by")), str(signature.get("at")), tuple(problems),
        void=bool(problems) and sound, notes=tuple(notes),
    )  # fmt: skip


def _head(store: Store, signature: dict[str, Any]) -> list[str]:
    """The signed head must still stand in the log: a log that was cut off, or made anew, has lost it."""
    head = signature.get("head") or {}
    if any(event.hash == head.get("hash") for event in store.events(signature.get("batch_id"))):
        return []
    return [f"audit log: event {head.get('event')}, which was signed, is gone or was made anew"]


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a batch folder but the signature, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != SIGNATURE and not path.name.startswith(".")
    }


def _record_hashes(folder: Path) -> list[str]:
    """16 hex digits of every line of the audit records, so that a change can be told by its line."""
    with (folder / RECORDS).open("rb") as handle:
        return [hashlib.sha256(line).hexdigest()[:16] for line in handle]


def _changed_files(folder: Path, signature: dict[str, Any]) -> list[str]:
    found = []
    now, then = _hashes(folder), signature["files"]
    for name in sorted({*now, *then}):
        if name not in now:
            found.append(f"{name}: the file is gone")
        elif name not in then:
            found.append(f"{name}: the file was not there when the batch was signed")
        elif now[name] != then[name]:
            where = _changed_lines(folder, signature["records"]) if name == RECORDS else ""
            found.append(f"{name}: was changed{where}")
    return found


def _changed_lines(folder: Path, signed: list[str]) -> str:
    now = _record_hashes(folder)
    if sorted(now) == sorted(signed):
        lines = [n for n, (a, b) in enumerate(zip(now, signed, strict=True), start=1) if a != b]
        return f", the order of lines {lines[0]} to {lines[-1]}" if lines else ""
    gone = [n for n, line in enumerate(signed, start=1) if line not in set(now)]
    new = [n for n, line in enumerate(now, start=1) if line not in set(signed)]
    parts = [f"signed line {gone[0]} is gone or changed"] if gone else []
    parts += [f"line {new[0]} is not what was signed"] if new else []
    return ", " + ", ".join(parts) if parts else ", lines were repeated"


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
