"""One sandbox per folder: who starts or runs it holds an flock on home/lock and stands in there by pid and start time.

`up` takes the lock and the daemon inherits it, so there is no moment of a start at which `down` or another `up` finds
nobody. The kernel releases it when the last of them ends, however it ends.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TextIO

from .processes import start_time


def take(home: Path) -> TextIO | None:
    """The lock, held until the file is closed; None when somebody else holds it."""
    file = (home / "lock").open("a+")  # whose text stays until somebody who has the lock replaces it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def sign(file: TextIO) -> None:
    """Write down that this process holds the lock."""
    file.truncate(0)
    file.write(f"{os.getpid()} {start_time(os.getpid())}")
    file.flush()


def holder(home: Path) -> int | None:
    """Pid of the process that signed last, None when it has ended."""
    with contextlib.suppress(OSError, ValueError):
        pid, _, started = (home / "lock").read_text().partition(" ")
        if start_time(int(pid)) == started:
            return int(pid)
    return None
