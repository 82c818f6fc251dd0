"""What a person reads when something cannot be done."""


class UserError(Exception):
    """One clear sentence for the user: what is wrong, and what to do about it.

    Every error class of the package derives from it. Only its text is ever shown as an explanation; any other exception
    is a fault of the program (`execution.failure`), except what happens to good programs on bad days: a full disk, too
    little memory, a database that does not answer.
    """
