"""Runs and corrections become entries of one chain; what is on record moves there in its order."""

import json

import sqlalchemy as sa
from alembic import op

from crystalseg.record.ledger import FIRST, digest, write_head

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    ledger = op.create_table(
        "ledger",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False, index=True),
        sa.Column("subject", sa.String(64), nullable=False, index=True),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    rows = []
    for run in _all("runs"):
        rows.append((run["created"], "run", run["id"], "", run))
    for c in _all("corrections"):
        body = {"choice": c["choice"], "entry": c["entry"]}
        rows.append((c["when"], "correction", c["job"], c["who"], body))
    previous = FIRST
    entries = []
    for number, (created, kind, subject, who, body) in enumerate(sorted(rows, key=lambda row: row[0]), start=1):
        text = json.dumps(body, sort_keys=True)
        own = digest(number, kind, subject, created, who, text, previous)
        entries.append(
            {
                "number": number,
                "kind": kind,
                "subject": subject,
                "created": created,
                "who": who,
                "body": text,
                "previous": previous,
                "hash": own,
            }
        )
        previous = own
    op.bulk_insert(ledger, entries)
    if entries:
        write_head(len(entries), previous)
    op.drop_table("corrections")
    op.drop_table("runs")


def _all(name: str) -> list[dict]:
    bind = op.get_bind()
    table = sa.Table(name, sa.MetaData(), autoload_with=bind)
    order = table.c.number if "number" in table.c else table.c.created
    return [dict(row) for row in bind.execute(sa.select(table).order_by(order)).mappings()]
