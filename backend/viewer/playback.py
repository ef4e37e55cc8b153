"""The clock of the page: which frame is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from legs4d.errors import Legs4dError


class Playback:
    """Shows frames in turn, in a thread of its own, looping; late frames are dropped, never queued.

    Args:
        num_frames: frames 0 … num_frames - 1.
        fps: frames per second at speed 1.
        show: called with each frame that is due.
        failed: called when `show` raises; playing stops then.
    """

    def __init__(
        self, num_frames: int, fps: float, show: Callable[[int], None], failed: Callable[[Legs4dError], None]
    ) -> None:
        self._num_frames, self._fps = num_frames, fps
        self._show, self._failed = show, failed
        self._playing = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._speed = 1.0
        self._begin = (0.0, 0)
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)
        self._thread.start()

    @property
    def playing(self) -> bool:
        return self._playing.is_set()

    def play(self, frame: int) -> None:
        """Go on from this frame."""
        self._rebase(frame)
        self._playing.set()

    def pause(self) -> None:
        self._playing.clear()

    def seek(self, frame: int) -> None:
        """While playing, go on from here."""
        self._rebase(frame)

    def set_speed(self, speed: float) -> None:
        """1 is the capture's own; greater than 0."""
        frame = self.due()
        self._speed = speed
        self._rebase(frame)

    def due(self) -> int:
        """The frame that belongs on the screen now, while playing."""
        with self._lock:
            began, first = self._begin
        return (first + int((time.monotonic() - began) * self._fps * self._speed)) % self._num_frames

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._playing.set()
        self._thread.join()

    def _rebase(self, frame: int) -> None:
        with self._lock:
            self._begin = (time.monotonic(), frame)

    def _run(self) -> None:
        last = -1
        while self._playing.wait() and not self._closed.is_set():
            frame = self.due()
            if frame != last:
                try:
                    self._show(frame)
                except Legs4dError as error:
                    self.pause()
                    self._failed(error)
            last = frame
            self._closed.wait(1 / (4 * self._fps * self._speed))
