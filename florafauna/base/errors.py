"""The one exception whose message is meant for the user."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input: the message is one sentence that says what is wrong, where, and what to do."""


@contextmanager
def one_sentence_on_error() -> Iterator[None]:
    """End the process with the sentence of a `UserError` on stderr and exit code 1, without a traceback."""
    try:
        yield
    except UserError as error:
        print(f"florafauna: {error}", file=sys.stderr)
        raise SystemExit(1) from None
