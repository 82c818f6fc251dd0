"""Who asked for a job."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("who", sa.String(255), nullable=False, server_default=""))
