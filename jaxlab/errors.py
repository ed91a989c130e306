"""The package's own exceptions.

Each message says what was wrong, where, and what to do about it. The command line prints the
message alone, without a traceback, and exits with status 2.
"""


class JaxlabError(Exception):
    """Base of the errors that say what to do about it."""


class ShapeError(JaxlabError, ValueError):
    """Arrays whose shapes or dtypes do not fit together."""


class DataError(JaxlabError, ValueError):
    """A data file that is missing, damaged, or not what its name promises."""


class OptionError(JaxlabError, ValueError):
    """A setting that makes no sense."""


class CheckError(JaxlabError, ValueError):
    """A gradient that cannot be checked where it was asked for."""


class OutputError(JaxlabError, OSError):
    """A result that cannot be written or read back."""
