"""A sign-off as one HTML file: what was signed, why it is trusted, and how to check it. Nothing in it is loaded or run.

The file belongs to the batch folder (`report.html`), so the signature covers its bytes as it covers every other file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from curation import __version__
from curation.batch.folder import MANIFEST, RECORDS, BatchFolder, Record
from curation.health.finding import Finding
from curation.insight.length_share import sentence_of_batch
from curation.pool.schema import prompt_text
from curation.review.checklist import Check
from curation.review.findings import batch_warnings
from curation.review.outline import Outline
from curation.settings import SETTINGS, kept_design, kept_space

SAMPLES = 10
SHOWN = 6000  # characters of one text
NOT_TESTED = "Not tested on outcomes: nothing is known of what these labels are worth beyond the criterion."
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 "Source Sans Pro", "Segoe UI", Helvetica, Arial, sans-serif; color: #1b2733; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin-top: 1.8rem; border-bottom: 1px solid #d5dbe2; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; overflow-wrap: anywhere; }
th { font-weight: 600; width: 17rem; }
tr + tr { border-top: 1px solid #eef1f4; }
code, .hash { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85em; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #d5dbe2; border-radius: 4px;
  padding: .5rem; margin: .3rem 0; }
.pair { margin-bottom: 1.4rem; }
.lead { font-size: 1.1rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } }
@page { margin: 16mm; }
"""


@dataclass(frozen=True)
class Signing:
    """What is known when a batch is about to be signed. decisions, head: hashes of what holds and of the trail's end.

    who: nobody for a draft. taken: keys of findings that the signer takes. tested: what outcomes say of such a design.
    """

    outline: Outline
    checks: Sequence[Check]
    decisions: str
    head: str | None
    who: str | None = None
    taken: Sequence[str] = ()
    tested: str | None = None
    public_key: str | None = None


def report_page(batch: BatchFolder, signing: Signing, *, at: datetime | None = None) -> bytes:
    """The report as UTF-8 HTML. at: of its making, now if none is given."""
    when = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    approved = [record["pair_id"] for record in signing.outline.approved]
    findings = batch_warnings(batch, approved)
    parts = [
        _head(batch, signing, when),
        _section("What is bought", _bought(signing.outline)),
        _section("How it was approved", _approved(signing, findings)),
        _section("How good it is", _quality(batch, signing)),
        _section("What was asked of the design", _asked(batch.manifest)),
        _section("Checklist", _table([(c.name, _holds(c)) for c in signing.checks])),
        _section(
            f"{min(SAMPLES, len(approved))} of {len(approved):,} approved pairs",
            _samples(batch, signing.outline.approved),
        ),
        _section("Hashes, and how to verify", _proof(batch, signing)),
    ]  # fmt: skip
    title = f"Sign-off of batch {batch.batch_id}"
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>\n{''.join(parts)}</body></html>\n"
    )
    return page.encode("utf-8", "backslashreplace")


def _text(value: object) -> str:
    """Text as HTML shows it: markup is inert, and characters that HTML does not know are visible."""
    plain = "".join(c if c in "\n\t" or (ord(c) >= 32 and ord(c) != 127) else f"\\x{ord(c):02x}" for c in str(value))
    return escape(plain, quote=True)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n{body}</section>\n"


def _table(rows: Sequence[tuple[str, object]]) -> str:
    return (
        f"<table>{''.join(f'<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows)}</table>\n"
    )


def _line(text: object, kind: str = "") -> str:
    return f'<p class="{kind}">{_text(text)}</p>\n' if kind else f"<p>{_text(text)}</p>\n"


def _holds(check: Check) -> str:
    return f"{'holds' if check.holds else 'DOES NOT HOLD'}: {check.figure}"


def _head(batch: BatchFolder, signing: Signing, when: str) -> str:
    by = f"Signed by {signing.who}" if signing.who else "DRAFT, signed by nobody"
    return (
        f"<h1>Sign-off of batch {_text(batch.batch_id)}</h1>\n"
        + _line(f"{by}; this page was written on {when} by Pairwright {__version__}.")
        + _line(f"{signing.outline.sentence()} {signing.outline.manner.sentence()}", "lead")
    )


def _bought(told: Outline) -> str:
    rows: list[tuple[str, object]] = [
        ("Pairs", f"{len(told.approved):,} approved of {told.pairs:,}"),
        ("Labels", f"{told.labels:,}"),
        ("Annotators' time", f"{told.hours():,.1f} hours at {told.pace.seconds:,.0f} s a label ({told.pace.words()})"),
    ]
    if told.cost is not None:
        rows.append(("Cost", f"{told.cost:,.6g} in units of {told.cost_of}, for the whole batch"))
    rows.append(("Labels by stratum", _counts(told.strata)))
    rows.append(("Labels in which a generator takes part", _counts(told.generators)))
    return _table(rows)


def _counts(found: Mapping[str, int], most: int = 40) -> str:
    named = [f"{name} {count:,}" for name, count in list(found.items())[:most]]
    more = f", and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(named) or 'none'}{more}"


def _approved(signing: Signing, findings: Sequence[Finding]) -> str:
    out = _line(signing.outline.manner.sentence())
    out += _table([("Approved by", _counts(signing.outline.manner.by))])
    if not findings:
        return out + _line("The checks on texts found nothing about the approved pairs.")
    taken = set(signing.taken)
    rows = []
    for finding in findings:
        known = finding.key in taken or "all" in taken
        by = f"Read and taken by {signing.who}. " if known and signing.who else "" if known else "NOT TAKEN. "
        rows.append((finding.title, f"{by}{finding.sentence}"))
    return out + _table(rows)


def _quality(batch: BatchFolder, signing: Signing) -> str:
    found = batch.manifest
    certified = found["stopped"] == "certificate"
    certificate = (
        f"the design is proved to be within {max(found['gap'], found['open'], 0.0):.2g} (relative) of the best possible"
        if certified
        else f"NOT certified: the solver stopped on {found['stopped']} with a gap of {found['gap']:.2g}"
    )
    near = [check.figure for check in signing.checks if check.name.startswith("What was approved is near")]
    return _table(
        [
            ("Certificate", certificate),
            ("Criterion", f"{found['objective']:.6g} the design, {found['realised']:.6g} the batch drawn from it, "
             f"{found['lower_bound']:.6g} the bound that no design is below (lower is better)"),
            ("What was approved", near[0] if near else "cannot be told"),
            ("On outcomes", signing.tested or NOT_TESTED),
            ("Answer length", sentence_of_batch(found, batch.records)),
        ]
    )  # fmt: skip


def _asked(manifest: Mapping[str, Any]) -> str:
    design, space = kept_design(manifest["settings"]), kept_space(manifest["space"])
    sizes = ", ".join(f"{manifest[name]:,} {name}" for name in ("prompts", "responses", "pairs") if name in manifest)
    rows: list[tuple[str, object]] = [("Pool", f"{manifest['pool']['name']}: {sizes}")]
    for each in SETTINGS:
        held = design if hasattr(design, each.name) else space
        if each.name != "device":
            title = each.label or each.name.replace("_", " ").capitalize()
            rows.append((title.split(" (0: ")[0], _value(getattr(held, each.name))))
    rows.append(("Pairs pinned", f"{len(manifest['pinned']):,}"))
    rows.append(("Pairs excluded", f"{len(manifest['excluded']):,}"))
    previous = manifest.get("previous")
    rows.append(
        (
            "Goes on from",
            "no earlier batch" if not previous else f"{', '.join(previous['batches'])} ({previous['labels']:,} labels)",
        )
    )
    return _table(rows)  # fmt: skip


def _value(value: object) -> object:
    """A setting as people write it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(str(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else value


def sample_of(batch_id: str, approved: Sequence[Record], count: int = SAMPLES) -> list[Record]:
    """Pairs to print: those with the lowest hash of batch and pair, so that nobody has chosen them."""

    def place(record: Record) -> str:
        return hashlib.sha256(f"{batch_id}:{record['pair_id']}".encode()).hexdigest()

    return sorted(approved, key=place)[:count]


def _samples(batch: BatchFolder, approved: Sequence[Record]) -> str:
    out = _line(
        "Drawn by a hash of batch and pair, so that nobody has chosen them; in the order that annotators may see."
    )
    for record in sample_of(batch.batch_id, approved):
        stratum = _text(record["stratum"] or "(none)")
        body = f"<p><b>Pair <code>{_text(record['pair_id'])}</code></b>, stratum {stratum}. "
        body += f"{_text(record['rationale'])}</p>"
        body += f'<div class="text"><b>Prompt</b>\n{_shown(prompt_text(record["prompt"]))}</div>'
        for side in ("a", "b") if record["left"] == "a" else ("b", "a"):
            name = _text(record[f"generator_{side}"] or "unknown generator")
            body += f'<div class="text"><b>{name}</b>\n{_shown(record[f"response_{side}"])}</div>'
        out += f'<div class="pair">{body}</div>\n'
    return out


def _shown(text: str) -> str:
    more = f"\n[the first {SHOWN:,} of {len(text):,} characters]" if len(text) > SHOWN else ""
    return _text((text[:SHOWN] or "(empty)") + more)


def _proof(batch: BatchFolder, signing: Signing) -> str:
    found = batch.manifest
    rows: list[tuple[str, object]] = [
        ("Batch", batch.batch_id),
        (f"sha256 of {MANIFEST}", batch.digests[MANIFEST]),
        (f"sha256 of {RECORDS}", batch.digests[RECORDS]),
        ("Pool", found["pool"]["fingerprint"]),
        ("Features", found["features"]["fingerprint"]),
        ("Decisions (sha256 of all that hold)", signing.decisions),
        ("Trail before the signature (last hash)", signing.head or "empty"),
        ("Public key of the signer", signing.public_key or "made when it is signed"),
    ]
    out = "<table>" + "".join(
        f'<tr><th>{_text(name)}</th><td class="hash">{_text(value)}</td></tr>' for name, value in rows
    )
    return (
        out
        + "</table>\n"
        + _line(
            "This page is a file of the batch folder, and its sha256 stands in signature.json beside it; a report that "
            "was changed, or one without its folder, proves nothing."
        )
        + "<p>To check everything, run <code>python -m curation verify FOLDER --public-key KEY</code> with the batch "
        "folder and the public key as its owner told you; it compares every file, the decisions, the trail and what "
        "was sent out.</p>\n"
    )
