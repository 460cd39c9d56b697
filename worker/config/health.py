"""`python -m config.health api|worker|beat`: exit code 0 when that process is alive, 1 with a sentence when it is not.

Worker and beat touch a file from their main loop, and the probe looks at its age. It needs neither Celery (an
`inspect ping` costs half a CPU second) nor the broker, whose outage must never get a healthy container killed.
"""

import os
import socket
import sys
import tempfile
import time
import zlib
from http.client import HTTPConnection, HTTPException
from pathlib import Path

TOUCH_INTERVAL = 3  # seconds
DEFAULT_MAX_AGE = 60  # seconds; above the longest bounded wait of the main loop (socket timeouts with their retries)


def heartbeat_file(role: str) -> Path:
    """Return the file that `role` touches; the same in every process of one container, and another in each container.

    The metadata URI is what still differs between two ECS tasks that share a host name and /tmp.
    """
    identity = f"{socket.gethostname()} {os.environ.get('ECS_CONTAINER_METADATA_URI_V4', '')}"
    return Path(tempfile.gettempdir()) / f"{role}-{zlib.crc32(identity.encode()):08x}.heartbeat"


def touch(role: str) -> None:
    """Say that the main loop of `role` turns."""
    heartbeat_file(role).touch()


def forget(role: str) -> None:
    """Remove what an earlier process left in the same container."""
    heartbeat_file(role).unlink(missing_ok=True)


def check_heartbeat(role: str) -> str | None:
    """Return why the main loop of `role` counts as dead, or None."""
    limit = float(os.environ.get("HEARTBEAT_MAX_AGE") or DEFAULT_MAX_AGE)
    try:
        age = time.time() - heartbeat_file(role).stat().st_mtime
    except FileNotFoundError:
        return f"The {role} has not come up: no connection to the broker so far, or it is still starting."
    if age > limit:
        return f"The main loop of the {role} has hung for {age:.0f} s (limit {limit:.0f} s, HEARTBEAT_MAX_AGE)."
    return None


def check_api() -> str | None:
    """Return why the API counts as dead, or None."""
    host = os.environ.get("HOST") or "127.0.0.1"
    connection = HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, int(os.environ.get("PORT") or 8000), 3)  # noqa: S104
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"The API does not answer on port {connection.port}: {error}."
    finally:
        connection.close()
    return None if status == 200 else f"The API answers /health with status {status}."


def main(arguments: list[str]) -> int:
    """Check the role in `arguments`; return the exit code."""
    if arguments not in (["api"], ["worker"], ["beat"]):
        print("Usage: python -m config.health api|worker|beat")
        return 2
    problem = check_api() if arguments == ["api"] else check_heartbeat(arguments[0])
    if problem:
        print(problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
