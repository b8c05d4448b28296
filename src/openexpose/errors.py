"""Errors a caller can act on: each message names what, where, and the next step."""


class OpenExposeError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


class AssetError(OpenExposeError):
    """A file of the data tree is missing, damaged, or not what its name says."""


class DataError(OpenExposeError):
    """User data (photo, annotation, HumanData row) cannot be used; the message names the row and the field."""


class WeightsError(OpenExposeError):
    """Network weights do not fit the network exactly."""


class ConfigError(OpenExposeError):
    """A setting is outside its range or contradicts another one."""


class ShapeError(OpenExposeError, ValueError):
    """A tensor has not the shape or type that a public function states."""


class MissingExtra(OpenExposeError, ImportError):  # noqa: N818 - says what is missing
    """An optional dependency is not installed; the message gives the pip command."""
