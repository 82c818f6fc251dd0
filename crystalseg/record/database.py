"""The record's database: SQLite in the home folder, or another database by its URL, with the current schema."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.exc import ArgumentError, DBAPIError

from crystalseg import environment
from crystalseg.errors import UserError
from crystalseg.record import store

BUSY_SECONDS = 10
# Words in an error of SQLite or PostgreSQL, and the sentence that users get. The first match is taken.
_SENTENCES = (
    ("locked", "Other programs are using the record. Try again."),
    ("is full", "The disk that holds the record is full. Free some space and try again. Everything on record is safe."),
    ("malformed", "The record's database is damaged. Restore it from a back-up."),
    ("not a database", "The record's database is damaged. Restore it from a back-up."),
    ("disk i/o error", "The disk that holds the record has failed or is full. Check it. Earlier entries are safe."),
    ("readonly", "The record cannot be written. Check the permissions of its folder and files."),
    ("unable to open", "The record cannot be opened. Check the permissions of its folder and files."),
    ("connection", "The record's database does not answer. Make sure that it runs, and try again."),
)


class RecordError(UserError):
    """The record cannot be used. The message is one sentence for the user."""


def explained(error: DBAPIError) -> str:
    """Turn a database error into a sentence for the user."""
    said = " ".join(str(error.orig).split())
    found = (sentence for words, sentence in _SENTENCES if words in said.lower())
    return next(found, f"The record's database reports an error: {said}.")


def open_database(url: str | None = None) -> Engine:
    """Open the record's database and bring it to the current schema: `url`, else $CRYSTALSEG_DATABASE_URL, else SQLite
    in `home`. Raises RecordError if it cannot be opened."""
    url = url or environment.value("CRYSTALSEG_DATABASE_URL") or f"sqlite:///{store.home() / 'record.sqlite'}"
    try:
        engine = create_engine(url)
    except (ArgumentError, ImportError) as error:
        raise RecordError(
            "The address of the record's database cannot be used. Set CRYSTALSEG_DATABASE_URL to an address such as "
            "postgresql+psycopg://user@host/database, and install the driver."
        ) from error
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection: Any, _record: Any) -> None:
            # Pages can read while the worker writes, and committed entries survive a power cut.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}")

    try:
        _migrate(engine)
    except DBAPIError as error:
        raise RecordError(explained(error)) from error
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the record to the current schema, and create the tables of an empty one. A lock lets app and worker start
    together."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with FileLock(store.home() / "record.lock"), engine.begin() as connection:
        config.attributes["connection"] = connection
        tables = inspect(connection).get_table_names()
        if "runs" in tables and "alembic_version" not in tables:
            command.stamp(config, "0001")  # the first release wrote no schema version
        command.upgrade(config, "head")
