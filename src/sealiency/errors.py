"""The error that a user can mend."""


class SealiencyError(Exception):
    """Bad input or an impossible setting.

    The message names the file or key, the value found and what to do about it; it is all that a user is shown.
    """
