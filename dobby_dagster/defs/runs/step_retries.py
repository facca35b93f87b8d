"""Retries of a step, as its error recommends."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.printable import message
from dobby_dagster.domain.secrets import detach_secrets

# For steps whose error recommends a retry; others fail at once.
STEP_RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


@contextmanager
def by_recommendation() -> Iterator[None]:
    """Raise errors that recommend a retry unchanged, so that the step's policy applies; make all others final.

    Also a decorator. Unexpected errors are final, too: the batch stays unfinished, and the schedule ``retry_failed``
    runs it again later, up to a limit.

    Raises:
        Failure: The error is final; its description is the error's message.
    """
    try:
        yield
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as stop:
        # With a retry policy Dagster would treat the user's interrupt as an error, and start the step again.
        raise dg.Failure("stopped; what was committed is kept", allow_retries=False) from stop
    except (dg.Failure, dg.DagsterError):
        raise
    except DobbyError as error:
        detach_secrets(error)
        if error.retry.may_pass:
            raise
        metadata = {"error_code": error.code, "severity": error.severity.value, "retry": error.retry.value}
        raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from error
    except Exception as error:
        failure = dg.Failure(message(f"{type(error).__name__}: {error}"), allow_retries=False)
        failure.__cause__ = error
        raise detach_secrets(failure) from failure.__cause__
