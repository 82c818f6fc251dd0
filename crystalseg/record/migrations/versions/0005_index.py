"""An index of runs and reports, derived from the entries; entries are found by kind and subject together."""

import sqlalchemy as sa
from alembic import op

TEXTS = ("image", "sample", "method", "operator", "approved")
FIGURES = ("average", "number_d50", "number_d90", "area_d50", "area_d90", "largest")
revision, down_revision = "0005", "0004"


def upgrade() -> None:
    op.create_index("ix_ledger_kind_subject", "ledger", ["kind", "subject"])
    for column in ("kind", "subject"):
        op.drop_index(f"ix_ledger_{column}", "ledger")
    op.create_table(
        "run_index",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", sa.String(64), nullable=False, index=True),
        sa.Column("measurement", sa.String(64), nullable=False, index=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS),
        *(
            sa.Column(name, sa.Float)
            for name in ("average", "number_d50", "number_d90", "area_d50", "area_d90", "largest")
        ),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("unit", sa.String(8), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("crystals", sa.String(64), nullable=False),
        sa.Column("counted", sa.Integer),
        sa.Column("corrections", sa.Integer, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("stands", sa.Boolean, nullable=False),
    )
    op.create_table(
        "report_index",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", sa.String(64), primary_key=True, index=True),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
    )
    op.create_table(
        "index_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
