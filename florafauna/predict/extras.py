"""What is not installed with the package and can be."""

from florafauna.errors import UserError


def missing(module: str, extra: str) -> UserError:
    """The sentence for a module of an extra that is not there."""
    return UserError(f"{module} is not installed; run `pip install 'florafauna[{extra}]'`.")
