"""Processes that write to one folder, or that have started others."""
from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1


@contextmanager
def alone(folder: Path):
    """Holds the folder, made if it is missing and removed if nothing came into it; an error if another process holds it.
    The lock is of the folder itself and ends with the process, however that does."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{folder}: another process is at work there: let it end, or stop it, and start "
                                  "again") from None
        except OSError as e:                       # some network file systems
            from .loop import log
            log(f"{folder}: cannot be locked here ({e.strerror}): see that no other process writes there")
        try:
            yield
        finally:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    finally:
        os.close(held)


def follow() -> Callable[[], None] | None:
    """What a child does before its program starts, to get SIGTERM when this process ends (Linux; elsewhere it lives on)."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:                 # it ended first
            os._exit(128 + signal.SIGTERM)
    return child


def gone(pid: int) -> bool:
    """Whether no other process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return pid == os.getpid()
