"""Runs and the queue, as first released."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.String(32), nullable=False, index=True),
        sa.Column("image_name", sa.String(255), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False, index=True),
        sa.Column("region", sa.JSON),
        sa.Column("um_per_px", sa.Float),
        sa.Column("calibration", sa.String(255)),
        *(
            sa.Column(name, sa.JSON, nullable=False)
            for name in ("settings", "hashes", "versions", "software", "timings")
        ),
        sa.Column("figures", sa.JSON),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("order", sa.Float, nullable=False, index=True),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
    )
