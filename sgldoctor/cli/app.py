"""The program: its commands, and what becomes of an error."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from sgldoctor import __version__
from sgldoctor.cli import check, explain, fix, inspect, install, matrix, rules, schema
from sgldoctor.errors import ExitCode, SgldoctorError

app = typer.Typer(
    name="sgldoctor",
    help="The environment doctor for SGLang: what is wrong, why, and the command that mends it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check", epilog=check.EPILOG)(check.command)
app.command("explain", epilog=explain.EPILOG)(explain.command)
app.command("fix", epilog=fix.EPILOG)(fix.command)
app.command("inspect", epilog=inspect.EPILOG)(inspect.command)
app.command("install", epilog=install.EPILOG)(install.command)
app.command("matrix", epilog=matrix.EPILOG)(matrix.command)
app.command("release", epilog=matrix.RELEASE_EPILOG)(matrix.release)
app.command("schema")(schema.command)
app.add_typer(rules.app, name="rules")


def _version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"sgldoctor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=lambda value: _version(asked=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Judge a machine and its Python environment for SGLang, from outside."""


def main() -> None:
    """Run the program and leave with a code of the one table."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as in `sgldoctor check >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _complain(f"Cannot write the report: {error.strerror}.")
        code = int(ExitCode.CANNOT)
    # Probes that hang (NVML on a lost GPU) are daemon threads; they must not hold up the end.
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; every error has become a line on stderr."""
    debug = "--debug" in arguments
    try:
        result = app(args=arguments, prog_name="sgldoctor", standalone_mode=False)
    except SgldoctorError as error:
        _trace(debug=debug)
        _complain(str(error))
        return int(error.exit_code)
    except (BrokenPipeError, SystemExit):  # the option parser ends the program where the reader left early
        _forget_stdout()
        return int(ExitCode.OK)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort: a line to report, not a traceback
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong usage, as the option parser names it
            error.show()
            return int(error.exit_code)
        _trace(debug=debug)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _complain(f"Cannot write the report: {error.strerror}.")
            return int(ExitCode.CANNOT)
        _complain(
            f"internal error: {type(error).__name__}: {error}. This is a fault of sgldoctor. "
            "Run again with --debug in front of the command and report what it prints."
        )
        return int(ExitCode.CANNOT)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _complain(text: str) -> None:
    """Write one line, or the few of a list of errors, to stderr, without secrets."""
    from sgldoctor.redact import Redactor  # noqa: PLC0415 - only on the way out

    plain = "".join(letter if letter == "\n" or letter.isprintable() else "?" for letter in text)
    with suppress(OSError):
        sys.stderr.write(f"sgldoctor: {Redactor(os.environ).text(plain)}\n")


def _trace(*, debug: bool) -> None:
    """Print the traceback of the error in hand, where ``--debug`` asks for it."""
    if debug:
        import traceback  # noqa: PLC0415 - only for people who develop sgldoctor

        traceback.print_exc()


def _forget_stdout() -> None:
    """Point stdout at nothing, so that the interpreter does not complain about a closed pipe on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
