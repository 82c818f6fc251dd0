"""Which worker runs a job, and with whom it takes turns."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0006", "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("asker", sa.String(255), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("worker", sa.Integer, nullable=False, server_default="0"))
