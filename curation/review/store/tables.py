"""The tables of the review store. The decisions table is a history: rows are added, never changed or removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STRENGTH_FITS = (
    "strength IS NULL OR (outcome = 'tie' AND strength = 0) OR (outcome IN ('a', 'b') AND strength IN (1, 2))"
)
BOTH_BAD_FITS = "NOT both_bad OR (outcome = 'tie' AND strength IS NOT NULL)"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is put back on the way out; a naive value is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a moment without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the moment {value} has no time zone; give one in UTC.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored moment, with its time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table, with names for the constraints so that later migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text(), datetime: UtcDateTime(), float: Double(), dict[str, Any]: JSON()}  # noqa: RUF012


class PoolRow(Base):
    """A pool that was opened. `opened_at` is the last time."""

    __tablename__ = "pools"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    path: Mapped[str | None]
    opened_at: Mapped[datetime]


class BatchRow(Base):
    """A batch folder that was written, with the figures of its manifest."""

    __tablename__ = "batches"
    __table_args__ = (Index(None, "pool_fingerprint"),)

    batch_id: Mapped[str] = mapped_column(primary_key=True)
    folder: Mapped[str]
    pool_fingerprint: Mapped[str] = mapped_column(ForeignKey("pools.fingerprint"))
    features_fingerprint: Mapped[str]
    budget: Mapped[float]
    settings: Mapped[dict[str, Any]]
    objective: Mapped[float | None]
    lower_bound: Mapped[float | None]
    realised: Mapped[float | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class DecisionRow(Base):
    """One entry of the history. `version` counts from 1 within a pair of a batch; the highest is what holds.

    undo_of: the entry this one takes back. action: the same for all entries that one act of a person wrote.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("batch_id", "pair_id", "version"),
        UniqueConstraint("undo_of"),
        Index(None, "batch_id", "who"),
        CheckConstraint("decision IN ('approve', 'reject', 'flag', 'clear')", name="known_word"),
        CheckConstraint("decision <> 'reject' OR reason IS NOT NULL", name="reject_has_reason"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.batch_id"))
    pair_id: Mapped[str]
    decision: Mapped[str]
    reason: Mapped[str | None]
    note: Mapped[str | None]
    who: Mapped[str]
    at: Mapped[datetime]
    version: Mapped[int]
    action: Mapped[str]
    undo_of: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))


class ScenarioRow(Base):
    """Design settings with the figures they gave, kept to stand side by side."""

    __tablename__ = "scenarios"
    __table_args__ = (UniqueConstraint("pool_fingerprint", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_fingerprint: Mapped[str] = mapped_column(ForeignKey("pools.fingerprint"))
    name: Mapped[str]
    settings: Mapped[dict[str, Any]]
    figures: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ExportRow(Base):
    """A file that went out to annotators."""

    __tablename__ = "exports"
    __table_args__ = (Index(None, "batch_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.batch_id"))
    format: Mapped[str]
    file: Mapped[str]
    sha256: Mapped[str]
    rows: Mapped[int]
    left_out: Mapped[dict[str, Any]]
    signed: Mapped[bool]
    who: Mapped[str]
    at: Mapped[datetime]


class ImportRow(Base):
    """A file of labels that came back. counts: what was in it, by kind."""

    __tablename__ = "imports"
    __table_args__ = (Index(None, "batch_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.batch_id"))
    file: Mapped[str]
    sha256: Mapped[str]
    format: Mapped[str]
    counts: Mapped[dict[str, Any]]
    who: Mapped[str]
    at: Mapped[datetime]


class LabelRow(Base):
    """One annotator's answer to one presentation of a pair. A later import replaces it.

    strength: 0 tie, 1 slightly, 2 much; NULL where it was not asked for. both_bad: a tie of two unacceptable responses.
    """

    __tablename__ = "labels"
    __table_args__ = (
        UniqueConstraint("batch_id", "pair_id", "annotator", "left", "copy"),
        CheckConstraint("outcome IN ('a', 'b', 'tie', 'skip')", name="known_outcome"),
        CheckConstraint(STRENGTH_FITS, name="strength_fits"),
        CheckConstraint(BOTH_BAD_FITS, name="both_bad_fits"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"))
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.batch_id"))
    pair_id: Mapped[str]
    annotator: Mapped[str]
    outcome: Mapped[str]
    left: Mapped[str]
    copy: Mapped[int]
    seconds: Mapped[float | None]
    strength: Mapped[int | None]
    both_bad: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class EventRow(Base):
    """One act of the audit log; `hash` covers everything else in the row, `previous` the row before."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("previous"),
        UniqueConstraint("hash"),
        Index(None, "batch_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str]
    who: Mapped[str]
    kind: Mapped[str]
    batch_id: Mapped[str | None]
    body: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]


class PersonRow(Base):
    """Who may do what."""

    __tablename__ = "people"
    __table_args__ = (CheckConstraint("role IN ('viewer', 'reviewer', 'approver', 'admin')", name="known_role"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]


class ViewRow(Base):
    """A way to look at review queues, kept by one person under a name."""

    __tablename__ = "views"
    __table_args__ = (UniqueConstraint("who", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    who: Mapped[str]
    filter: Mapped[dict[str, Any]]
