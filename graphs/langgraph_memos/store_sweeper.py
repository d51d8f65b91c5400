"""A thread that sweeps what has expired, with the verbs of LangGraph's own stores."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from memos_integrations.cube.errors import MemosError, UsageError

_log = logging.getLogger(__name__)


class Sweeper:
    """Calls ``sweep`` now and then until it is stopped. One thread at most."""

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = sweep
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended: Future[None] = _done()

    def start(self, seconds: float, *, wanted: bool) -> Future[None]:
        """What ends with the sweeping; the running one's, where it runs already."""
        if not seconds > 0:
            raise UsageError("sweep_interval_minutes must be above 0")
        with self._lock:
            if not wanted:
                return _done()
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._ended = Future()
                self._thread = threading.Thread(
                    target=self._run,
                    args=(seconds, self._ended),
                    name="memos-store-sweeper",
                    daemon=True,
                )
                self._thread.start()
            return self._ended

    def stop(self, timeout: float | None) -> bool:
        """Whether the sweeping has ended."""
        with self._lock:
            thread = self._thread
        self._stop.set()
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self, seconds: float, ended: Future[None]) -> None:
        while not self._stop.wait(seconds):
            try:
                count = self._sweep()
            except UsageError:  # the memory was closed: there is nothing left to sweep
                break
            except MemosError as error:  # the next round tries again
                _log.warning("the sweep failed: %s", type(error).__name__)
            else:
                _log.debug("swept %d expired memories", count)
        ended.set_result(None)


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done
