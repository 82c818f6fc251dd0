"""The index says with which weights, model and effort a run was made; it is made anew from the entries."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0007", "0006"


def upgrade() -> None:
    for table in ("run_index", "report_index", "index_state"):
        op.execute(sa.delete(sa.table(table)))
    op.add_column("run_index", sa.Column("weights", sa.Text, nullable=False, server_default=""))
