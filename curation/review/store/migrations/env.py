"""Run by Alembic. The connection comes from `curation.review.store.connection`; there is no alembic.ini."""

from alembic import context

from curation.review.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
