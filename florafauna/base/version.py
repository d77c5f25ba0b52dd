"""The version of florafauna, from the metadata of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """For instance 0.1.0; 'not installed' where the code runs from a plain checkout."""
    try:
        return version("florafauna")
    except PackageNotFoundError:
        return "not installed"
