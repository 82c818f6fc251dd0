"""Alembic runs this to bring a record to the present schema; `runs.open_database` calls it with a connection."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
