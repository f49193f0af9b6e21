"""Numbers as readers see them."""

from __future__ import annotations


def fixed(value: float, digits: int) -> str:
    """With so many decimals and a true minus; what rounds to zero has none."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def show_number(value: float) -> str:
    """Three decimals below ten, fewer above, with a true minus; what rounds to zero has none."""
    return fixed(value, 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0)


def show_signed(value: float) -> str:
    """A difference with its sign and a true minus: `+0.051`, `−0.020`, and `0.000`."""
    rounded = round(value, 3)
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"
