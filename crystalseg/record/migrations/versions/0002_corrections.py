"""The log of corrections by hand, and in each run those in force."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    # Records made between the first release and the first numbered schema have all this, but no number.
    if "corrections" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "corrections",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("job", sa.String(32), nullable=False, index=True),
        sa.Column("choice", sa.String(64), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("when", sa.String(32), nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
    )
    op.add_column("runs", sa.Column("corrections", sa.JSON, nullable=False, server_default="[]"))
