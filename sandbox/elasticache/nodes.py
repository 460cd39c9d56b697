"""One cache node: a real redis-server (or valkey-server) process on a loopback port of its own."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from ..core import SYSTEM_PATH, redis_server

log = logging.getLogger("sandbox.elasticache")

ADMIN = "sandbox"
# Commands that ElastiCache keeps from its customers:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/RestrictedCommands.html
FORBIDDEN = (
    "-config -bgrewriteaof -bgsave -debug -migrate -psync -replicaof -slaveof -save -shutdown -sync"
    " -failover -module -acl|deluser -acl|load -acl|save -acl|setuser"
)


class RedisError(Exception):
    """Redis answered a command with an error."""


class Node:
    """Process, port and redis.conf of one node.

    The sandbox and the replicas log in as a user of their own, so that AUTH tokens can change under the clients
    without touching replication, and so that clients can be kept from what ElastiCache does not allow.
    """

    def __init__(self, processes, folder: Path, admin_password: str):
        self.processes, self.folder, self.password = processes, folder, admin_password
        self.port: int | None = None
        self.popen: subprocess.Popen | None = None

    def start(
        self, acl: dict[str, str], databases: str = "16", source: int | None = None, data: Path | None = None
    ) -> None:
        """Start empty, with the RDB file `data`, or as a replica of the node on port `source`.

        `acl`: user name -> rules. RuntimeError when Redis does not come up.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if data:
            shutil.copyfile(data, self.folder / "dump.rdb")
        for _ in range(5):  # the free port may be taken by somebody else before Redis binds it
            self.port = _free_port()
            path = self.folder / "redis.conf"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write("\n".join(self._config(acl, databases, source)) + "\n")
            with open(self.folder / "redis.log", "ab") as output:
                self.popen = self.processes.start(
                    [redis_server(), str(path)],
                    env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"},
                    cwd=str(self.folder),
                    stdout=output,
                )
            if self._came_up():
                return
            self.stop()
        raise RuntimeError(f"redis-server did not start; {self.folder / 'redis.log'} says why.")

    def _config(self, acl: dict[str, str], databases: str, source: int | None) -> list[str]:
        return [
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode no",
            f'dir "{self.folder}"',
            'save ""',
            "appendonly no",
            f"databases {databases}",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            f"user {ADMIN} on >{self.password} ~* &* +@all",
            *(f"user {name} {rules}" for name, rules in acl.items()),
            f"masteruser {ADMIN}",
            f"masterauth {self.password}",
            *([f"replicaof 127.0.0.1 {source}"] if source else []),
        ]

    def _came_up(self, seconds: float = 15) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            try:
                self.call(["PING"])
                return True
            except (OSError, RedisError):
                time.sleep(0.01)
        return False

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def stop(self, sig: int = signal.SIGKILL) -> None:
        """End the process at once; ElastiCache keeps nothing on disk that a graceful end would save."""
        if self.popen:
            self.processes.kill_group(self.popen, sig)
            self.popen.wait()
            self.processes.ended(self.popen)
            self.popen = None

    def call(self, *commands: list[str]) -> list:
        """Replies to `commands`, sent in one go. Errors come back as RedisError objects; a single one is raised."""
        if self.port is None:
            raise ConnectionRefusedError("the node is not running")
        replies = _exchange(self.port, [["AUTH", ADMIN, self.password], *commands])[1:]
        if len(replies) == 1 and isinstance(replies[0], RedisError):
            raise replies[0]
        return replies

    def info(self, section: str) -> dict[str, str]:
        text = self.call(["INFO", section])[0]
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def configure(self, settings: dict[str, str]) -> None:
        """CONFIG SET each; settings that this server's version does not have are left out."""
        replies = self.call(*(["CONFIG", "SET", name, value] for name, value in settings.items()))
        for name, reply in zip(settings, replies, strict=True):
            if isinstance(reply, RedisError):
                log.debug("%s not applied: %s", name, reply)

    def set_acl(self, acl: dict[str, str]) -> None:
        """Make these the users, and no others; who is connected as one that goes is cut off, as Redis does it."""
        known = {line.split()[1] for line in self.call(["ACL", "LIST"])[0]} - {ADMIN}
        gone = sorted(known - acl.keys() - {"default"})
        self.call(
            *(["ACL", "SETUSER", name, "reset", *rules.split()] for name, rules in acl.items()),
            *([["ACL", "DELUSER", *gone]] if gone else []),
        )

    def slow_log(self, after: int) -> list[list]:
        """Entries of SLOWLOG that are newer than the one with the id `after`, oldest first."""
        entries = self.call(["SLOWLOG", "GET", "128"])[0]
        return [entry for entry in reversed(entries) if entry[0] > after]

    def follow(self, source: int | None) -> None:
        """Replicate from the node on port `source`; None makes this node a primary."""
        self.call(["REPLICAOF", "127.0.0.1", str(source)] if source else ["REPLICAOF", "NO", "ONE"])

    def wait_synced(self, source: "Node", seconds: float = 20) -> bool:
        """True when this replica has the data of `source`, and `source` sends it every write from now on."""
        online = f"port={self.port},state=online"
        return self._wait(
            lambda: (
                self.info("replication").get("master_link_status") == "up"
                and any(online in value for value in source.info("replication").values())
            ),
            seconds,
        )

    def catch_up(self, source: "Node", seconds: float = 2) -> bool:
        """Hold writes to `source` back until this replica has all that came before; then `source` must follow it."""
        source.call(["CLIENT", "PAUSE", str(int(seconds * 1000)), "WRITE"])
        end = int(source.info("replication")["master_repl_offset"])
        return self._wait(lambda: self.offset >= end, seconds)

    @property
    def offset(self) -> int:
        """How much of its primary's stream this replica has: the higher, the smaller its lag."""
        return int(self.info("replication").get("slave_repl_offset", 0))

    def _wait(self, check: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):  # one of the two nodes died: False
            while self.alive and time.monotonic() < deadline:
                if check():
                    return True
                time.sleep(0.02)
        return False

    def save(self, path: Path) -> int:
        """Write the data to `path` as an RDB file; returns its size in bytes."""
        self.call(["SAVE"])
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / "dump.rdb", path)
        return path.stat().st_size


def rules(tokens: Sequence[str | None], access: str = "on ~* &* +@all") -> str:
    """ACL rules of a user; None among the tokens (or passwords) that are valid stands for "none needed"."""
    valid = ["nopass"] if None in tokens else [f"#{sha256(token.encode()).hexdigest()}" for token in tokens if token]
    return " ".join([access, *valid, FORBIDDEN])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _exchange(port: int, commands: list[list[str]]) -> list:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        words = (b"*%d\r\n" % len(command) + b"".join(map(_bulk, command)) for command in commands)
        connection.sendall(b"".join(words))
        with connection.makefile("rb") as replies:
            return [_reply(replies) for _ in commands]


def _bulk(word: str) -> bytes:
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _reply(stream):
    """One RESP2 reply: https://redis.io/docs/latest/develop/reference/protocol-spec/."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("Redis closed the connection")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"-":
        return RedisError(rest)
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*":
        return [_reply(stream) for _ in range(int(rest))]
    return int(rest) if kind == b":" else rest
