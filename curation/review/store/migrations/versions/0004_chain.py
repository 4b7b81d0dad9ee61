"""The audit log: every act, each bound to the one before."""

import hashlib
import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the log and the table of people."""
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("previous", name="uq_events_previous"),
        sa.UniqueConstraint("hash", name="uq_events_hash"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_batch_id", "events", ["batch_id"])
    op.create_table(
        "people",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'reviewer', 'approver', 'admin')", name="ck_people_known_role"),
        sa.PrimaryKeyConstraint("name", name="pk_people"),
    )
    _take_in()


def _take_in() -> None:
    """What was decided and sent out before there was a log becomes its first events, so that a check finds it whole."""
    connection = op.get_bind()
    decisions = connection.execute(
        sa.text("SELECT batch_id, pair_id, decision, reason, note, who, version FROM decisions ORDER BY id")
    ).all()
    exports = connection.execute(
        sa.text("SELECT batch_id, format, file, sha256, rows, signed, who FROM exports ORDER BY id")
    ).all()
    acts: list[tuple[str, str, str, dict[str, object]]] = [
        (d.who, "earlier", d.batch_id, {"rows": [[*d[1:5], d.version]]}) for d in decisions
    ]
    acts += [
        (e.who, "export", e.batch_id, {"format": e.format, "file": e.file, "sha256": e.sha256, "rows": e.rows,
                                       "signed": bool(e.signed)})
        for e in exports
    ]  # fmt: skip
    previous, at = "0" * 64, datetime.now(UTC).isoformat(timespec="microseconds")
    for who, kind, batch_id, body in acts:
        content = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(json.dumps([previous, at, who, kind, batch_id, content]).encode()).hexdigest()
        connection.execute(
            sa.text(
                "INSERT INTO events (at, who, kind, batch_id, body, previous, hash) "
                "VALUES (:at, :who, :kind, :batch_id, :body, :previous, :hash)"
            ),
            {"at": at, "who": who, "kind": kind, "batch_id": batch_id, "body": content, "previous": previous,
             "hash": digest},
        )  # fmt: skip
        previous = digest


def downgrade() -> None:
    """Forget them."""
    op.drop_table("people")
    op.drop_index("ix_events_batch_id", "events")
    op.drop_table("events")
