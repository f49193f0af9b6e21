"""A run's checkpoints on disk: the last two, each whole or not there."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from simo_cl.results import write_partial

FORMAT = 1
_HEADER = b"simo-cl checkpoint\n"
_DIGEST_LENGTH = 64


class DamagedError(Exception):
    """A file is not what was written to it."""


class Checkpoints:
    """Writes ``checkpoint.pt``, and keeps the one before as ``checkpoint.previous.pt``.

    A file is a line that names it, a line with the SHA-256 of the rest, and what ``torch.save``
    makes of tensors and primitives; reading it runs no code.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "checkpoint.pt"
        self._previous = folder / "checkpoint.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the older of the two.

        Raises:
            OSError: no space, or no permission; both are as they were.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, **state}, buffer)
        content = buffer.getbuffer()
        digest = hashlib.sha256(content).hexdigest().encode()
        written = write_partial(self._current, [_HEADER, digest, b"\n", content])
        if self._current.exists():
            self._current.replace(self._previous)
        written.replace(self._current)

    def load(self) -> dict[str, Any] | None:
        """The newest that is whole and of this version's format, if there is one.

        Warns:
            UserWarning: a file cannot be used, and why.
        """
        for path in (self._current, self._previous):
            try:
                return _read(path)
            except FileNotFoundError:
                continue
            except DamagedError as error:
                warnings.warn(f"{path} cannot be used: {error}", stacklevel=2)
        return None

    def remove(self) -> None:
        """Deletes both, if no other command does: the run needs none, or must begin anew."""
        for path in self._folder.glob("checkpoint*.pt*"):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    start = len(_HEADER) + _DIGEST_LENGTH + 1
    if not content.startswith(_HEADER) or len(content) <= start:
        raise DamagedError("it is no checkpoint, or cut off")
    digest = content[len(_HEADER) : start - 1]
    body = memoryview(content)[start:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError("its content is not what was written")
    try:
        state = dict(torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise DamagedError("it holds more than tensors and primitives") from error
    if state.pop("format", None) != FORMAT:
        raise DamagedError("another version of simo-cl wrote it")
    return state
