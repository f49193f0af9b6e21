"""The augmentations by name, apart from the tensors, so that settings are checked without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from simo_cl.registry import did_you_mean

Augmentation = Literal["crop", "flip", "resized_crop", "color_jitter", "grayscale"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)


def check_augmentations(names: Sequence[str], allowed: Sequence[str] = AUGMENTATIONS) -> None:
    """Raise a ValueError, which says what is allowed, if a name is unknown or given twice.

    Example:
        >>> check_augmentations(["crop", "flip"])
    """
    if isinstance(names, str):
        raise ValueError(f"Augmentations must be a list of names, not the text '{names}'.")
    for name in names:
        if name not in allowed:
            raise ValueError(
                f"The augmentation '{name}' does not exist here.{did_you_mean(name, allowed)} "
                f"Allowed: {', '.join(allowed)}."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"Augmentations {list(names)}: a name is given twice.")
