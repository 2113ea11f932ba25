"""The optional dependencies of goodspeed, and the one message for a missing one."""


def missing_extra(purpose: str, extra: str, cause: object = "") -> str:
    """The error text for `purpose`, which needs the extra of that name; `cause`: the import error, if there is one.

    The command is the same for a checkout and a wheel: goodspeed is installed, so pip adds only what the extra lists.
    """
    return f"{purpose} needs the extra {extra!r}: pip install 'goodspeed[{extra}]'" + (f" ({cause})" if cause else "")
