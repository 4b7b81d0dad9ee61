"""Whether the store still says what the audit log says: every row that an event wrote, who might do what, the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from curation.review.store import anchor, binding, chain, roles
from curation.review.store.labels import labels_digest
from curation.review.store.ledger import decisions_digest
from curation.review.store.records import StoredExport
from curation.review.store.row_hash import same_rows
from curation.review.store.tables import (
    Base,
    BatchRow,
    DecisionRow,
    EventRow,
    ExportRow,
    ImportRow,
    LabelRow,
    PersonRow,
)

# What no event holds, so that a change of it is not found. docs/manual.md repeats the names, and a test compares.
NOT_COVERED = {
    "pools": "which pool files were opened, under which name and when",
    "scenarios": "kept settings and their figures",
    "views": "each person's saved filters",
    "batches.folder": "where a batch lies: what lies there is compared instead",
    "alembic_version": "the version of the tables",
}
_NEEDS: dict[str, roles.Role] = {"decide": "reviewer", "undo": "reviewer", "sign": "approver", "export": "reviewer"}
_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)  # what a value of a wrong type brings
_EXPORT = tuple(part.name for part in fields(StoredExport))
R = TypeVar("R", bound=Base)


@dataclass
class LogReport:
    """What does not agree (problems), what should be known (notes), the digest of the decisions, and the binding."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    decisions: str | None = None
    bound: binding.Binding | None = None
    heads: frozenset[tuple[int, str]] = frozenset()  # number and hash of every event
    exports: list[StoredExport] = field(default_factory=list)  # of every batch, oldest first


def check(session: Session, batch_id: str, *, place: str, known: anchor.Remembered) -> LogReport:
    """Compare all that the store holds of a batch with the log. known: read before the session began."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})  # one state for all that is read
    report = LogReport()
    rows = _read(session, EventRow, report)
    rows.sort(key=lambda row: row.id)
    if rows and rows[0].id < 1:
        report.problems.append(f"audit log, event {rows[0].id}: numbers begin at 1, so this one was changed")
    broken = chain.broken(rows)
    if broken is not None:
        report.problems.append(f"audit log, event {broken.event}: {broken.what}")
    problems, notes = anchor.compare(rows, place, known)
    report.problems += problems
    report.notes += notes
    every = [chain.event_of(row) for row in rows]
    report.heads = frozenset((row.id, str(row.hash)) for row in rows)
    report.notes += _clock(every)
    log = [event for event in every if event.batch_id == batch_id]
    _batch(session, batch_id, log, report)
    _decisions(session, batch_id, log, report)
    _sent_or_brought(session, batch_id, log, "export", ExportRow, report)
    _sent_or_brought(session, batch_id, log, "import", ImportRow, report)
    _labels(session, batch_id, log, report)
    _people(session, batch_id, every, report)
    sent = sorted(_read(session, ExportRow, LogReport()), key=lambda row: row.id)
    report.exports = [StoredExport(**{name: getattr(row, name) for name in _EXPORT}) for row in sent]
    return report


def _read(session: Session, table: type[R], report: LogReport, *wanted: Any) -> list[R]:
    """Rows of a table; one that holds what its columns cannot is named and left out."""
    try:
        return list(session.scalars(select(table).where(*wanted)))
    except _ODD:
        pass
    found = []
    key = inspect(table).primary_key[0]
    for value in session.scalars(select(key).where(*wanted)).all():
        try:
            found.append(session.scalars(select(table).where(key == value)).one())
        except _ODD as error:
            report.problems.append(f"{table.__tablename__}: row {value} holds what cannot be read ({error})")
    return found


def _clock(log: Sequence[chain.Event]) -> list[str]:
    back = [(a, b) for a, b in pairwise(log) if str(b.at) < str(a.at)]
    if not back:
        return []
    first, then = back[0]
    more = f", and {len(back) - 1} more" if len(back) > 1 else ""
    return [
        f"audit log: event {then.id} is dated {str(then.at)[:19]}, before event {first.id} of {str(first.at)[:19]}"
        f"{more}: a clock was set back, so that dates do not tell the order; the numbers do"
    ]


def _batch(session: Session, batch_id: str, log: Sequence[chain.Event], report: LogReport) -> None:
    made = [event for event in log if event.kind == "batch"]
    row = next(iter(_read(session, BatchRow, report, BatchRow.batch_id == batch_id)), None)
    if row is None:
        report.problems.append(f"batches: the row of batch {batch_id} is gone or cannot be read")
    for event in made if row is not None else ():
        if "row" in event.body and not same_rows([row], event.body["row"]):  # type: ignore[list-item]
            report.problems.append(f"batches: the row of batch {batch_id} is not what event {event.id} wrote")
            break
    first = next((event for event in made if not event.body.get("late")), None)
    proposed = None if first is None else first.body.get("author") or first.who
    if row is not None and first is not None and row.created_by != proposed:
        report.problems.append(f"batches: {batch_id} was proposed by {proposed}, the table says {row.created_by}")
    report.bound = next(filter(None, map(binding.binding_of, made)), None)
    if report.bound is None:
        report.notes.append("recorded by an earlier version: what its records were then is not known")
    elif report.bound.late:
        before = sum(event.kind in ("decide", "earlier") for event in log if event.id < report.bound.event)
        report.notes.append(
            f"recorded by an earlier version: its records are bound since {report.bound.at[:10]} (event "
            f"{report.bound.event}), {before} acts of deciding are older"
        )


def _decisions(session: Session, batch_id: str, log: Sequence[chain.Event], report: LogReport) -> None:
    acts = [event for event in log if event.kind in ("decide", "undo", "earlier")]
    told = {
        (row[0], row[4]): (*row[:4], event.who)
        for event in acts
        for row in _lists(event.body.get("rows"))
    }  # fmt: skip
    rows = {(r.pair_id, r.version): r for r in _read(session, DecisionRow, report, DecisionRow.batch_id == batch_id)}
    kept = {key: (r.pair_id, r.decision, r.reason, r.note, r.who) for key, r in rows.items()}
    for key in sorted({*told, *kept}, key=str):
        pair, version = key
        if key not in kept:
            report.problems.append(f"decisions: version {version} of pair {pair} is gone; the audit log has it")
        elif key not in told:
            report.problems.append(f"decisions: version {version} of pair {pair} stands in no event of the audit log")
        elif told[key] != kept[key]:
            report.problems.append(f"decisions: version {version} of pair {pair} is not what the audit log says")
    for event in acts:
        written = [rows.get((row[0], row[4])) for row in _lists(event.body.get("rows"))]
        whole = [row for row in written if row is not None]
        if "entries" in event.body and len(whole) == len(written) and not same_rows(whole, event.body["entries"]):
            pair, version = whole[0].pair_id, whole[0].version
            report.problems.append(
                f"decisions: rows of event {event.id} (version {version} of pair {pair}, {len(whole)} in all) are not "
                "what it wrote"
            )
    try:
        report.decisions = decisions_digest(session, batch_id)
    except _ODD as error:
        report.problems.append(f"decisions: what holds cannot be read ({error})")


def _lists(rows: Any) -> list[list[Any]]:
    """The entries of an act's event: lists of five."""
    found = rows if isinstance(rows, list) else []
    return [r for r in found if isinstance(r, list) and len(r) >= 5 and all(not isinstance(x, list | dict) for x in r)]


def _sent_or_brought(
    session: Session,
    batch_id: str,
    log: Sequence[chain.Event],
    kind: str,
    table: type[ExportRow] | type[ImportRow],
    report: LogReport,
) -> None:
    """One row for every event of the kind, and one event for every row."""
    spelt = ("file", "sha256", "format", *(("rows", "signed") if kind == "export" else ()))
    left: list[Any] = _read(session, table, report, table.batch_id == batch_id)

    def fits(event: chain.Event) -> Callable[[Any], bool]:
        if "row" in event.body:
            return lambda row: row.who == event.who and same_rows([row], event.body["row"])
        return lambda row: (row.who, *(getattr(row, name) for name in spelt)) == (
            event.who, *(event.body.get(name) for name in spelt)
        )  # fmt: skip

    for event in (event for event in log if event.kind == kind):
        row = next(filter(fits(event), left), None)
        if row is None:
            report.problems.append(
                f"{table.__tablename__}: the row of event {event.id} ({event.body.get('file')}) is gone or not what "
                "the audit log says"
            )
        else:
            left.remove(row)
    report.problems += [
        f"{table.__tablename__}: row {row.id} ({row.file}) is not what the audit log says" for row in left
    ]


def _labels(session: Session, batch_id: str, log: Sequence[chain.Event], report: LogReport) -> None:
    labels = _read(session, LabelRow, report, LabelRow.batch_id == batch_id)
    imports = [event.body for event in log if event.kind == "import"]
    if labels and not imports:
        report.problems.append("labels: no import in the audit log brought them")
    if not imports:
        return
    try:
        same = labels_digest(labels) == imports[-1].get("labels")
    except _ODD:
        same = False
    if not same or ("label_rows" in imports[-1] and not same_rows(labels, imports[-1]["label_rows"])):
        report.problems.append("labels: they are not those of the last import in the audit log")


def _people(session: Session, batch_id: str, every: Sequence[chain.Event], report: LogReport) -> None:
    """Roles are what the log's `role` events made of them, and nobody did what the role of that moment forbids."""
    held: dict[str, str] = {}
    for event in every:
        name, role = event.body.get("name"), event.body.get("role")
        if event.kind == "role" and isinstance(name, str):
            named = isinstance(role, str) and role != roles.NO_ROLE
            held = {**held, name: str(role)} if named else {k: v for k, v in held.items() if k != name}
        elif held and event.batch_id == batch_id and event.kind in _NEEDS:
            need = "approver" if event.body.get("signed") is True else _NEEDS[event.kind]
            had = held.get(event.who)
            if had not in roles.ROLES or roles.ROLES.index(had) < roles.ROLES.index(need):
                report.problems.append(
                    f"audit log, event {event.id}: {event.who} ({had or 'not named'} by the log) may not {event.kind}, "
                    f"which takes the role {need}"
                )
    kept = {row.name: row.role for row in _read(session, PersonRow, report)}
    for name in sorted({*held, *kept}, key=str):
        if held.get(name) != kept.get(name):
            report.problems.append(
                f"people: {name} is {kept.get(name) or 'not named'}, by the audit log {held.get(name) or 'not named'}"
            )
