"""What the subcommands print: results for a reader, or JSON, on stdout; progress and warnings on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

__all__ = ["JsonOption", "VerboseOption", "print_json", "print_pairs", "print_table", "start_logging"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else, on stdout.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged, too.")]


class _Coloured(logging.Formatter):
    """``warning: text``, in yellow where the terminal shows colours."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return typer.style(text, fg="yellow") if record.levelno >= logging.WARNING else text


class _Echo(logging.Handler):
    """Writes to stderr; colours are left out where it is no terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


def start_logging(verbose: bool = False) -> None:
    """Show warnings of this package on stderr, and what it and others tell with ``verbose``."""
    handler = _Echo()
    handler.setFormatter(_Coloured("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


def print_json(values: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False))


def print_pairs(title: str, pairs: Mapping[str, str]) -> None:
    """A title, and below it a line for each name with its value; names are aligned."""
    typer.secho(title, bold=True)
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        typer.echo(f"  {name:<{width}}  {value}")


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with aligned columns; the first is to the left, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for number, line in enumerate(lines):
        cells = [
            f"{line[0]:<{widths[0]}}",
            *(f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True)),
        ]
        typer.secho("  ".join(cells).rstrip(), bold=number == 0)
