"""How everything that is printed looks."""

import json
import sys
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 118
LEAST_WIDTH = 90


def console() -> Console:
    """The terminal, or lines of a fixed width where it is narrow or the output goes elsewhere: a terminal wraps them,
    but no column is lost."""
    width = max(LEAST_WIDTH, Console().width) if sys.stdout.isatty() else WIDTH
    return Console(width=width, markup=False, highlight=False)


def text(renderable: RenderableType) -> str:
    """What a terminal without colours would show."""
    buffer = StringIO()
    Console(file=buffer, width=WIDTH, markup=False, no_color=True, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def money(amount: object, digits: int = 0) -> str:
    """An amount of USD; a price that no source gives is `unknown`."""
    return f"{amount:,.{digits}f}" if isinstance(amount, (int, float)) else "unknown"


def interfaces(fabric: str, count: int) -> str:
    """A fabric and the number of its interfaces on a node."""
    return f"{fabric} x{count}" if count else fabric


def line(title: str, content: str) -> Text:
    """A paragraph under a bold title."""
    return Text.assemble((f"{title}: ", "bold"), content, overflow="fold")


def table(title: str | None) -> Table:
    """An empty table."""
    return Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False, header_style="bold")


def emit(data: Any) -> None:
    """Prints JSON for programs."""
    print(json.dumps(data, indent=2, allow_nan=False))
