"""Errors that a user can mend: each says what, what it got, what it expected and what to do next.

The command line prints the message of a `PixgraphError` on one line and exits with code 2; anything else is a defect
of pixgraph and keeps its traceback.
"""


class PixgraphError(Exception):
    """Base of all errors that come from the user's input or machine rather than from a defect."""


class ConfigError(PixgraphError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another one."""


class DataError(PixgraphError):
    """A picture, a mask, a folder or a split is missing, broken or not in the expected layout."""


class CheckpointError(PixgraphError):
    """A checkpoint or weights file is missing, truncated, unsafe, or belongs to another model or version."""


class RunError(PixgraphError):
    """A run folder is in use, was made with another configuration, or cannot be written."""


class DependencyError(PixgraphError):
    """An optional package or a device is asked for and is not there."""


class NotFittedError(PixgraphError):
    """A segmenter is asked for masks before it was shown any labelled picture."""
