"""The program ``monai-dgm``: its subcommands, their errors in one line, and their exit statuses."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from monai_dgm import __version__
from monai_dgm.cli import commands
from monai_dgm.errors import InputError, UsageError

__all__ = ["main", "make_app"]

HELP = """Take chest radiographs apart into a normal image and a residue map of the disease.

Research software; not a medical device.

Exit status: 0 done, 1 some files or steps failed, 2 called wrongly."""


def make_app() -> typer.Typer:
    """The program with every subcommand of :mod:`monai_dgm.cli.commands`."""
    app = typer.Typer(name="monai-dgm", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_options)
    for module in pkgutil.iter_modules(commands.__path__):
        function = getattr(importlib.import_module(f"{commands.__name__}.{module.name}"), module.name)
        app.command(module.name.replace("_", "-"))(_ending_with_its_status(function))
    return app


def _ending_with_its_status(function: Callable[..., int | None]) -> Callable[..., None]:
    @functools.wraps(function)
    def command(*args: Any, **options: Any) -> None:
        try:
            status = function(*args, **options)
        except InputError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            status = 2 if isinstance(error, UsageError) else 1
        raise typer.Exit(status or 0)

    return command


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"monai-dgm {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program, which ends the process with its exit status."""
    make_app()(args=arguments, prog_name="monai-dgm")
    sys.exit(0)


if __name__ == "__main__":
    main()
