"""Labels with strength, and answers that both responses are bad."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; labels that are there were not asked for a strength.

    The checks stand with their columns, so that SQLite adds and drops them without making the table anew.
    """
    op.execute(
        "ALTER TABLE labels ADD COLUMN strength INTEGER CONSTRAINT ck_labels_strength_fits CHECK (strength IS NULL OR "
        "(outcome = 'tie' AND strength = 0) OR (outcome IN ('a', 'b') AND strength IN (1, 2)))"
    )
    op.execute(
        "ALTER TABLE labels ADD COLUMN both_bad BOOLEAN DEFAULT false NOT NULL CONSTRAINT ck_labels_both_bad_fits "
        "CHECK (NOT both_bad OR (outcome = 'tie' AND strength IS NOT NULL))"
    )


def downgrade() -> None:
    """Forget them; the sides stay."""
    op.execute("ALTER TABLE labels DROP COLUMN both_bad")
    op.execute("ALTER TABLE labels DROP COLUMN strength")
