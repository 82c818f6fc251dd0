"""Why a run failed, in words for the user."""


def failure(error: BaseException) -> str:
    """One sentence; `ValueError`s are meant for users and bring their own."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this image; crop it or use smaller resize factors."
    return str(error) if isinstance(error, ValueError) else f"The run failed: {error!r}."
