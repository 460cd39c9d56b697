"""Start processes that cannot outlive the sandbox.

Every process leads a session of its own and is registered on disk (file name = pid, content = boot id and start time)
*by itself, before it becomes the program*, so there is no moment in which it runs unregistered. Three parties reap:
the daemon when a process ends, the watchdog when the daemon ends (it holds a pipe to it, so even kill -9 counts), and
the next `up` or `down`. PDEATHSIG would be wrong: it fires when the starting thread ends. Only a program that makes a
session of its own (a daemon) escapes; Celery, uvicorn and Redis in the foreground do not.

This file is also the helper program (`processes.py exec …`, `processes.py watch …`) and therefore imports little.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HELPER = [sys.executable, "-I", "-S", __file__]
CLONE_NEWUTS, CLONE_NEWUSER = 0x04000000, 0x10000000


def start_time(pid: int) -> str | None:
    """What tells a process from a later one with the same pid (boot id and start time); None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        if fields[0] == b"Z":  # ended, only nobody has collected its exit status yet
            return None
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {fields[19].decode()}"
    except OSError:
        if Path("/proc/self").exists():
            return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def session_members(session: int) -> list[int]:
    """Pids of the session's live processes, those that moved to a group of their own (`timeout`, shells) included."""
    members = []
    for entry in os.scandir("/proc") if Path("/proc/self").exists() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[3]) == session and fields[0] != b"Z":
                    members.append(int(entry.name))
    return members


def kill_session(leader: int, sig: int = signal.SIGKILL) -> None:
    """Signal all that is left of the session that `leader` started; a pid stays reserved while its session lives."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, sig)
    for pid in session_members(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, sig)


def reap(registry: Path) -> int:
    """Kill every registered session that is still the one that was registered; returns how many entries there were."""
    entries = [path for path in registry.glob("*") if path.name.isdigit()]
    for path in entries:
        pid = int(path.name)
        with contextlib.suppress(OSError):
            registered, now = path.read_text(), start_time(pid)
            this_boot = registered.split(" ")[0] == (start_time(os.getpid()) or "").split(" ")[0]
            if now == registered or (now is None and this_boot):
                kill_session(pid)
        path.unlink(missing_ok=True)
    remove_containers(registry.parent / "containers")
    return len(entries)


def remove_containers(marker: Path) -> None:
    """Stop and remove all containers of the sandbox whose tasks run in some: it made the file `marker` then."""
    if marker.exists():
        remove = ["podman", "rm", "--force", "--volumes", "--time", "3", "--filter", f"label=sandbox={marker}"]
        with contextlib.suppress(OSError):
            subprocess.run(remove, stdin=subprocess.DEVNULL, capture_output=True, check=False)


class Processes:
    """The processes of one sandbox. Thread safe as long as one process has one owner."""

    def __init__(self, home: Path):
        self.registry = home / "processes"
        self.registry.mkdir(parents=True, exist_ok=True)
        self._live: dict[int, subprocess.Popen] = {}
        self._lasting: set[int] = set()
        self._watchdog: subprocess.Popen | None = None

    def watch(self) -> None:
        """Start the watchdog: it ends every registered session once this process is gone."""
        self._watchdog = subprocess.Popen(
            [*HELPER, "watch", str(self.registry)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def start(self, argv, *, env: dict[str, str], cwd, stdout, hostname: str | None = None,
              pass_fds: Sequence[int] = (), lasting: bool = False) -> subprocess.Popen:  # fmt: skip
        """Start `argv` (argv[0] is looked up in env's PATH) in a session of its own.

        With `hostname` it also gets a UTS namespace of its own where the system allows that. One that is `lasting`
        is part of the sandbox rather than of what runs in it: `stop_all` and `live` pass it over.
        `env` is the whole environment; stdin is empty; stderr goes where stdout goes. A program that cannot be
        executed ends with 127 (not found) or 126, as in a shell, with one sentence on stdout.
        """
        helper = [*HELPER, "exec", str(self.registry), str(os.getpid()), hostname or "", "--"]
        popen = subprocess.Popen(
            [*helper, *map(str, argv)],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._live[popen.pid] = popen
        if lasting:
            self._lasting.add(popen.pid)
        return popen

    def kill_group(self, popen: subprocess.Popen, sig: int) -> None:
        """Signal the process and its children. Does nothing once `ended` was called."""
        if popen.pid in self._live:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(popen.pid, sig)

    def ended(self, popen: subprocess.Popen) -> None:
        """Call when the main process has ended: kills what it left behind (pool children outlive a killed parent)."""
        if self._live.pop(popen.pid, None) is not None:
            kill_session(popen.pid)
            (self.registry / str(popen.pid)).unlink(missing_ok=True)

    def live(self) -> list[int]:
        """Pids of all main processes that `ended` was not called for."""
        return sorted(set(self._live) - self._lasting)

    def stop_all(self, grace: float = 3.0) -> None:
        """SIGTERM to all, SIGKILL after `grace` seconds."""
        popens = [popen for pid, popen in list(self._live.items()) if pid not in self._lasting]
        for popen in popens:
            self.kill_group(popen, signal.SIGTERM)
        deadline = time.monotonic() + grace
        for popen in popens:
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(max(0.0, deadline - time.monotonic()))
            self.kill_group(popen, signal.SIGKILL)
            popen.wait()
            self.ended(popen)

    def close(self) -> None:
        """Stop everything, the watchdog last."""
        self._lasting.clear()
        self.stop_all()
        if self._watchdog:
            self._watchdog.stdin.close()
            self._watchdog.wait()


def _own_hostname(name: str) -> None:
    """Celery names its nodes celery@<hostname>: without one of its own all workers would be one node.

    Root may unshare the UTS namespace; others get it together with a user namespace where the kernel allows that.
    """
    flags, uid, gid = CLONE_NEWUTS, os.getuid(), os.getgid()
    if uid != 0:
        flags |= CLONE_NEWUSER
    if hasattr(os, "unshare"):
        os.unshare(flags)
    else:
        import ctypes

        if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
            return
    if uid != 0:
        for file, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path(f"/proc/self/{file}").write_text(line)
    socket.sethostname(name)


def _exec(registry: str, daemon: str, hostname: str, _dashes: str, *argv: str) -> None:
    (Path(registry) / str(os.getpid())).write_text(start_time(os.getpid()) or "")
    if os.getppid() != int(daemon):  # the daemon died meanwhile: its watchdog may have looked before we registered
        return
    if hostname:
        with contextlib.suppress(Exception):
            _own_hostname(hostname[:63])
    try:
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606 - becoming the program is the point
    except OSError as error:
        print(f'exec: "{argv[0]}": {error.strerror}', flush=True)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _watch(registry: str) -> None:
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    sys.stdin.buffer.read()  # returns when the daemon, the only holder of the other end, is gone
    while reap(Path(registry)):  # again: a process on its way to becoming a program may register late
        time.sleep(0.2)


if __name__ == "__main__":
    {"exec": _exec, "watch": _watch}[sys.argv[1]](*sys.argv[2:])
