"""The command line. The only part of the package that imports typer; torch is loaded by the commands that need it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from errno import EPIPE
from typing import Annotated, Any

import typer

from xmodal.cli import papers as papers
from xmodal.cli import runs as runs
from xmodal.cli import things as things
from xmodal.cli.words import app
from xmodal.components import blame
from xmodal.errors import FULL, XmodalError

__all__ = ["app", "main"]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as of

        typer.echo(f"xmodal {of('xmodal')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with 0 done, 1 failed, 2 usage, 3 missing, 4 diverged or 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    # `--debug` may stand anywhere on the line.
    words = [word for word in arguments if word != "--debug"]
    sys.exit(_run(lambda: app(words), debug=len(words) < len(arguments)))


def _run(act: Callable[[], Any], *, debug: bool) -> int:
    try:
        act()
    except SystemExit as exit_:
        if fault := blame(exit_):  # a plugin that ends the program
            if debug:
                raise fault from exit_
            return _told(fault)
        if _by_interrupt(exit_):  # typer takes it, and says nothing
            sys.stderr.write("interrupted\n")
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except XmodalError as error:
        if debug:
            raise
        return _told(error)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.filename is None and error.errno in (EPIPE, *FULL):
            from xmodal import console

            refused = error
            return _run(lambda: console.give_up("stdout", refused), debug=debug)  # typer's own words, as any others
        if fault := blame(error):
            return _told(fault)
        sys.stderr.write(
            f"internal error: {type(error).__name__}: {error}\n  fix: run again with --debug and report what it shows\n"
        )
        return 1
    return 0


def _told(error: XmodalError) -> int:
    """The exit code of an error that was shown."""
    from xmodal import console

    console.show_error(error)
    return error.exit_code


def _by_interrupt(error: BaseException | None) -> bool:
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ if error.__suppress_context__ else error.__context__
    return error is not None
