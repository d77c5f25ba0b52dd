"""The version of florafauna, from the metadata of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version, such as 0.1.0; 'not installed' when run from a plain checkout."""
    try:
        return version("florafauna")
    except PackageNotFoundError:
        return "not installed"
