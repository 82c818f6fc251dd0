"""The record's database: SQLite under the home folder, or any other by its URL, at the present schema."""

import os
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, inspect

from crystalseg.record import store


def open_database(url: str | None = None) -> Engine:
    """The record's engine, at the present schema: `url`, else $CRYSTALSEG_DATABASE_URL, else SQLite under `home`."""
    url = url or os.environ.get("CRYSTALSEG_DATABASE_URL") or f"sqlite:///{store.home() / 'record.sqlite'}"
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection: Any, _record: Any) -> None:
            # A page reads while the worker writes; what is committed survives a power cut.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=10000")

    _migrate(engine)
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the record to the present schema; an empty one gets its tables. App and worker may start together."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with FileLock(store.home() / "record.lock"), engine.begin() as connection:
        config.attributes["connection"] = connection
        tables = inspect(connection).get_table_names()
        if "runs" in tables and "alembic_version" not in tables:
            command.stamp(config, "0001")  # made by the first release, which wrote no version
        command.upgrade(config, "head")
