"""Google's exceptions as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions

from shared.errors import Inaccessible, Permanent, Transient
from shared.model.value import printable

# https://google.aip.dev/194 and the services' own retry guides.
_RETRYABLE = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    exceptions.Aborted,
    exceptions.Cancelled,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise Transient for what may pass, Permanent for what will not; `what` begins the sentence.

    Inaccessible is said of whoever asks, or of the place: nothing of what was asked can be had there.
    """
    try:
        yield
    except _RETRYABLE as error:
        raise Transient(f"{what} did not succeed for now: {words(error)}") from error
    except exceptions.Unauthorized as error:
        raise Inaccessible(f"{what} was refused: {words(error)}", "nobody") from error
    except exceptions.Forbidden as error:
        raise Inaccessible(f"{what} was refused: {words(error)}", "forbidden") from error
    except exceptions.NotFound as error:
        raise Inaccessible(f"{what} was refused: {words(error)}", "absent") from error
    except exceptions.GoogleAPICallError as error:
        raise Permanent(f"{what} was refused: {words(error)}") from error
    except (auth_exceptions.TransportError, ConnectionError, TimeoutError) as error:
        raise Transient(f"{what} did not succeed for now: {words(error)}") from error
    except auth_exceptions.GoogleAuthError as error:
        raise Inaccessible(f"{what} lacks credentials: {words(error)}", "nobody") from error


def words(error: Exception) -> str:
    """A foreign failure in one line."""
    return printable(" ".join(str(error).split()), 500)
