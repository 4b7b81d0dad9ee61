"""Budgets may be in cost units, so not whole."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the column; every whole number stays what it is."""
    with op.batch_alter_table("batches") as table:
        table.alter_column("budget", type_=sa.Double(), existing_type=sa.Integer(), existing_nullable=False)


def downgrade() -> None:
    """Back to whole numbers."""
    with op.batch_alter_table("batches") as table:
        table.alter_column("budget", type_=sa.Integer(), existing_type=sa.Double(), existing_nullable=False)
