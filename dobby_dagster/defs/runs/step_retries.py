"""Retries at the level of a step, by what the error itself recommends."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.printable import message
from dobby_dagster.domain.secrets import detach_secrets

# Of steps whose error recommends another try; all others fail at once.
STEP_RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


@contextmanager
def by_recommendation() -> Iterator[None]:
    """Let an error pass that recommends another try, for the step's policy to see; make all others final.

    Also a decorator. Errors that nobody foresaw are final, too: the batch is left unfinished, and the schedule
    ``retry_failed`` runs it again later, a bounded number of times.

    Raises:
        Failure: The error is final; its description is the error's one line.
    """
    try:
        yield
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as stop:
        # With a retry policy Dagster would take a stop by the user for an error, and begin the step again.
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
