"""Why something failed, in words for the user."""

from sqlalchemy.exc import DBAPIError

from crystalseg.record.database import explained

# Beside ValueErrors, which bring their own sentence: what happens to good programs on bad days.
FORESEEN = (MemoryError, OSError, DBAPIError)


def failure(error: BaseException) -> str:
    """One sentence; `ValueError`s are meant for users and bring their own."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this image; crop it or use smaller resize factors."
    if isinstance(error, DBAPIError):
        return explained(error)
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}; nothing that was shown as saved is lost."
    return str(error) if isinstance(error, ValueError) else f"It failed: {error!r}."
