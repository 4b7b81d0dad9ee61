"""Labels that came back from annotators."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A file that was imported, and the answers in it."""
    op.create_table(
        "imports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_imports_batch_id"),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_index("ix_imports_batch_id", "imports", ["batch_id"])
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("left", sa.Text(), nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.CheckConstraint("outcome IN ('a', 'b', 'tie', 'skip')", name="ck_labels_known_outcome"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_labels_batch_id"),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"], name="fk_labels_import_id"),
        sa.PrimaryKeyConstraint("id", name="pk_labels"),
        sa.UniqueConstraint(
            "batch_id", "pair_id", "annotator", "left", "copy", name="uq_labels_batch_id_pair_id_annotator_left_copy"
        ),
    )


def downgrade() -> None:
    """Forget the labels."""
    op.drop_table("labels")
    op.drop_index("ix_imports_batch_id", "imports")
    op.drop_table("imports")
