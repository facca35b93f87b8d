"""The exit status of a command; any exception becomes one line on standard error and a status other than 0."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import typer

from dobby_dagster.cli.database_in_use import pasteable
from dobby_dagster.cli.exit_codes import FAILED, STOPPED
from dobby_dagster.cli.output import fail
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.printable import message

# What typer raises for wrong arguments; its public name is that of a subclass.
_WrongArguments: type[Exception] = typer.BadParameter.__bases__[0]
_log = logging.getLogger("dobby")


def exit_status(command: Callable[[], object]) -> int:
    """Run ``command``; returns 0, 1 for a failure, 2 for wrong arguments, 130 if the user stopped it.

    Args:
        command: May return a status. Everything it raises is caught; the traceback is logged with ``--verbose``.
    """
    try:
        status = command()
    except DobbyError as error:
        return _failed(f"{error.message} ({pasteable(error.hint)})" if error.hint else error.message)
    except _WrongArguments as error:
        return _wrong_arguments(error)
    except typer.Abort:
        return _failed("aborted; nothing was done")
    except KeyboardInterrupt:
        status = STOPPED
    except BrokenPipeError as error:
        return FAILED if _reader_is_gone() else _unexpected(error)
    except SystemExit as ended:
        return _failed(ended.code) if isinstance(ended.code, str) else ended.code or 0
    except BaseException as error:  # a panic in an extension module is not an Exception
        if not _was_interrupted(error):
            return _unexpected(error)
        status = STOPPED
    if status == STOPPED:
        fail("stopped; what was committed is kept, the rest is pending")
    return status if isinstance(status, int) else 0


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error: during the creation of a class it is raised as a RuntimeError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _reader_is_gone() -> bool:
    """Whether the reader of standard output is gone, as in ``dobby export | head``; further output is dropped."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _failed(text: str) -> int:
    fail(message(text))
    return FAILED


def _wrong_arguments(error: Exception) -> int:
    """Report wrong arguments; if there were none, typer has already printed the help."""
    if type(error).__name__ != "NoArgsIsHelpError":
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "dobby"
        said: str = error.format_message()  # type: ignore[attr-defined]
        fail(f"{said.rstrip('.').replace('argument(s)', 'arguments')} (see {command} --help)")
    return int(getattr(error, "exit_code", 2))


def _unexpected(error: BaseException) -> int:
    _log.info("traceback", exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        named = f"'{os.fsdecode(error.filename)}': " if isinstance(error.filename, str | bytes) else ""
        return _failed(f"{named}{error.strerror}")
    return _failed(
        f"unexpected {type(error).__name__}: {str(error) or 'no message'} "
        "(this is a bug in dobby; dobby --verbose … shows the traceback)"
    )
