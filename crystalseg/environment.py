"""What whoever runs crystalseg sets by variables of the environment: all are read here. An empty one is not set."""

import math
import os
from pathlib import Path
from typing import Literal

from crystalseg.errors import UserError

Variable = Literal[
    "CRYSTALSEG_HOME",
    "CRYSTALSEG_DATABASE_URL",
    "CRYSTALSEG_SIGNING_KEY",
    "CRYSTALSEG_TIMESTAMP_URL",
    "CRYSTALSEG_TIMESTAMP_ROOTS",
    "CRYSTALSEG_FOLDERS",
    "CRYSTALSEG_HOSTS",
    "CRYSTALSEG_MAX_MEGAPIXELS",
    "CRYSTALSEG_WORKERS",
    "CRYSTALSEG_SCHEDULER",
]
MAX_MEGAPIXELS = 100.0
SHORTEST_SECRET = 32  # bytes of the key that signs cookies: those of the SHA-256 that signs (RFC 7518, 3.2)


def value(name: Variable) -> str:
    """What a variable says; "" if it is not set."""
    return os.environ.get(name, "").strip()


def max_megapixels() -> float:
    """Larger images are refused, or measured as mosaics; by $CRYSTALSEG_MAX_MEGAPIXELS. UserError if it says no number
    above 0."""
    text = value("CRYSTALSEG_MAX_MEGAPIXELS")
    if not text:
        return MAX_MEGAPIXELS
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise UserError(f"CRYSTALSEG_MAX_MEGAPIXELS is “{text[:40]}”: set it to a number above 0, such as 400.")
    return limit


def hosts() -> list[str]:
    """The names under which this server is reached, besides those of this machine, by $CRYSTALSEG_HOSTS: separated by
    commas, in lower case, without ports."""
    return [name.strip().lower() for name in value("CRYSTALSEG_HOSTS").split(",") if name.strip()]


def folders() -> list[Path]:
    """The folders of the server whose images its visitors may measure, by $CRYSTALSEG_FOLDERS."""
    return [Path(folder).resolve() for folder in value("CRYSTALSEG_FOLDERS").split(os.pathsep) if folder]
