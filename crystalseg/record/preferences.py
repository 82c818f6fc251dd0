"""What a person entered last and would enter again, such as details of reports. One file a person, not on record."""

import json
from pathlib import Path
from typing import Any

from crystalseg.record import store


def recall(identity: str) -> dict[str, Any]:
    """Return what a person entered last, by name; `identity` is "" on a machine without sign-in. A file that is damaged
    counts as empty: nothing depends on it."""
    try:
        held = json.loads(_place(identity).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def remember(identity: str, name: str, value: Any) -> None:
    """Keep what a person entered under a name. `value` is JSON-ready."""
    held = recall(identity) | {name: value}
    _place(identity).parent.mkdir(parents=True, exist_ok=True)
    store.write_safely(_place(identity), json.dumps(held, ensure_ascii=False).encode())


def _place(identity: str) -> Path:
    return store.home() / "preferences" / f"{store.digest(identity)}.json"
