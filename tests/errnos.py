"""Asks for the error number that an action ends with."""


def errno_of(action, *arguments):
    """Return the errno of the OSError that `action` raises, or None if it raises none."""
    try:
        action(*arguments)
    except OSError as error:
        return error.errno
    return None
