"""A thread that sends what it is given, in order, until something cannot be sent."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from simo_cl.tracking.run_items import Item


class Lane:
    """Sends items from a thread of its own; from the first failure on, they are kept instead.

    Args:
        send: sends a batch, or raises whatever it likes.
        keep: takes over what could not be sent, and all that comes after it.
        give_up: told once, before the first is kept, why, unless there is no reason to give.
        batch: the most items of one call.
        seconds: how long items gather for a call.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], None],
        *,
        keep: Callable[[Sequence[Item]], None],
        give_up: Callable[[str], None],
        batch: int = 1,
        seconds: float = 0.0,
    ) -> None:
        self._send = send
        self._keep = keep
        self._give_up = give_up
        self._batch = batch
        self._seconds = seconds
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()  # None is the last
        self._in_flight: list[Item] = []
        self._lock = threading.RLock()  # over what is kept, and _has_failed
        self._has_failed = False
        self._thread = threading.Thread(target=self._work, name="simo_cl-mlflow", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def put(self, item: Item) -> None:
        """Takes an item, without waiting for anything."""
        self._items.put(item)
        if not self._thread.ident:  # it was never started
            self._keep_rest()

    def end(self, *last: Item) -> None:
        """Takes the last items."""
        for item in last:
            self.put(item)
        self._items.put(None)

    def wait(self, seconds: float) -> bool:
        """Whether all items have been sent or kept after so many seconds."""
        if self._thread.ident:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop_sending(self, reason: str | None) -> None:
        """Keeps what is waiting or being sent, and all that comes."""
        with self._lock:
            if not self._has_failed and reason is not None:
                self._give_up(reason)
            self._has_failed = True
        self._keep_rest()

    def _work(self) -> None:
        is_over = False
        while not is_over:
            gathered = self._gathered()
            is_over = gathered[-1] is None
            self._in_flight = [item for item in gathered if item is not None]
            if self._in_flight and not self._has_failed:
                try:
                    self._send(self._in_flight)
                    self._in_flight = []
                except Exception as error:
                    # Whatever it is, it must end neither the training nor the record of it.
                    self.stop_sending(f"has refused: {error}")
            self._keep_rest()

    def _gathered(self) -> list[Item | None]:
        """Waits for an item, then for more until there is enough for one call."""
        items = [self._items.get()]
        until = time.monotonic() + self._seconds
        while len(items) < self._batch and items[-1] is not None:
            try:
                items.append(self._items.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return items

    def _keep_rest(self) -> None:
        """After a failure: keeps what is being sent and what is waiting."""
        with self._lock:
            if not self._has_failed:
                return
            rest, self._in_flight = self._in_flight, []
            with suppress(queue.Empty):
                # Not get(): the thread may take what was there a moment ago.
                while (item := self._items.get_nowait()) is not None:
                    rest.append(item)
                self._items.put(None)
            if rest:
                self._keep(rest)
