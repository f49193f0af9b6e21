"""Print to a terminal."""

from __future__ import annotations

from rich.console import Console


def tell(console: Console, message: str, style: str | None = None) -> None:
    """Prints text as it is: paths and messages may have what rich reads as markup."""
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
