"""The root of all errors that a user can mend."""

from typing import ClassVar


class UserError(ValueError):
    """Input that cannot be used; the message names the file or option, the value, and the remedy.

    Every command line prints it as one line and ends with `status`.
    """

    status: ClassVar[int] = 2
    """The exit status of a command that this error ends."""
