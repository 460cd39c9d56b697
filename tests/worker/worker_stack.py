"""Real processes for the worker's tests: Redis with AUTH, workers, beat and API, each stopped at the end."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

WORKER = Path(__file__).parents[2] / "worker"
TOKEN = "a-token-for-tests"


def eventually(function, seconds=40):
    """Call `function` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (value := function()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def free_port() -> int:
    """Return a port below those that outgoing connections get, one of which could take it before its server starts."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Processes:
    """Starts processes as a task would be: own session, own /tmp, and no more environment than it is given."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def start(self, *argv, **env) -> subprocess.Popen:
        home = self.folder / f"process-{len(self.started)}"
        home.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "TMPDIR": str(home),
            **{name: str(value) for name, value in env.items()},
        }
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                argv, cwd=WORKER, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        process.environment, process.log = environment, home / "log"
        self.started.append(process)
        return process

    def kill(self, process: subprocess.Popen) -> None:
        """End a process and its children at once, as the end of its container does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.started:
            self.kill(process)


class Stack(Processes):
    """A Redis and what is started against it."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.port = free_port()
        self.url = f"redis://:{TOKEN}@127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, password=TOKEN)
        self.start_redis()

    def start_redis(self) -> None:
        self.redis = self.start(
            *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", TOKEN),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(self.folder)),
        )
        eventually(self.pings, 10)

    def pings(self) -> bool:
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False

    def urls(self) -> dict[str, str]:
        return {"CELERY_BROKER_URL": self.url, "CELERY_RESULT_BACKEND": self.url}

    def worker(self, **env) -> subprocess.Popen:
        """Start a worker and wait until it is healthy."""
        worker = self.start(
            *("celery", "-A", "config.celery", "worker", "--queues=langgraph,embeddings", "--concurrency=1"),
            *("--loglevel=INFO",),
            **{**self.urls(), **env},
        )
        eventually(lambda: health(worker, "worker") == 0 or died(worker))
        return worker

    def beat(self, **env) -> subprocess.Popen:
        return self.start("celery", "-A", "config.celery", "beat", "--loglevel=INFO", **{**self.urls(), **env})

    def api(self, **env) -> "Api":
        port = free_port()
        process = self.start(
            sys.executable, "-m", "config.api", **{**self.urls(), "HOST": "127.0.0.1", "PORT": port, **env}
        )
        eventually(lambda: health(process, "api") == 0 or died(process))
        return Api(port, process)


def died(process: subprocess.Popen) -> bool:
    """Return False while the process runs; fail with its log when it has ended."""
    assert process.poll() is None, process.log.read_text()
    return False


def health(process: subprocess.Popen, role: str, max_age: float = 60) -> int:
    """Return the exit code of the health command, run where the process runs."""
    return subprocess.run(
        [sys.executable, "-m", "config.health", role],
        cwd=WORKER,
        env={**process.environment, "HEARTBEAT_MAX_AGE": str(max_age)},
        stdout=subprocess.DEVNULL,
        timeout=20,
        check=False,
    ).returncode


class Api:
    """Client of the API."""

    def __init__(self, port: int, process: subprocess.Popen):
        self.port, self.process = port, process

    def request(self, path: str, body=None) -> tuple[int, dict]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def ask(self, question: str) -> str:
        """Queue a question; return the URL of its status."""
        status, body = self.request("/api/ai/ask-async/", {"student_id": "s-1", "question": question})
        assert status == 202, body
        assert body["status_url"] == f"/api/ai/tasks/{body['task_id']}/"
        return body["status_url"]

    def state(self, url: str) -> str:
        return self.request(url)[1]["state"]

    def outcome(self, url: str, seconds=40) -> dict:
        """Wait until the task has ended; return its status."""
        eventually(lambda: self.state(url) in ("SUCCESS", "FAILURE"), seconds)
        return self.request(url)[1]


class FakeModel:
    """An OpenAI-compatible endpoint whose requests wait while `hold` is set; `statuses` are given out first.

    Each request takes `seconds`.
    """

    def __init__(self):
        self.hold = threading.Event()
        self.release = threading.Event()
        self.seconds = 0.0
        self.statuses: list[int] = []
        self.requests: list[dict] = []
        self.text: str | None = "The model's answer."  # of the OpenAI-compatible endpoint
        self.blocks: list[dict] = [{"text": self.text}]  # of Bedrock
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
                # Before the wait: a caller that is killed during it must not take the status of a later one.
                status = model.statuses.pop(0) if model.statuses else 200
                if model.hold.is_set():
                    model.release.wait(60)
                time.sleep(model.seconds)
                answer = {
                    "choices": [{"message": {"content": model.text}}],
                    "output": {"message": {"role": "assistant", "content": model.blocks}},
                }
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.end_headers()
                    self.wfile.write(json.dumps(answer if status == 200 else {"message": "no"}).encode())
                except OSError:  # the caller was killed, which is what some tests are about
                    pass

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.env = {
            "ANSWER_MODEL": "openai:fake",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "key",
        }
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for_requests(self, count: int, seconds=40) -> None:
        eventually(lambda: len(self.requests) >= count, seconds)

    def let_go(self) -> None:
        """Answer the requests that wait, and those to come."""
        self.hold.clear()
        self.release.set()
        self.release.clear()

    def stop(self) -> None:
        self.let_go()
        self.server.shutdown()
        self.server.server_close()


class Proxy:
    """A TCP proxy to a Redis; what goes through it can be made to vanish, as when a route or a host is lost."""

    def __init__(self, target: int):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[dict] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                connection = {"sockets": (client, server), "lost": False}
                self.connections.append(connection)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(connection, *pair), daemon=True).start()

    @staticmethod
    def _forward(connection: dict, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not connection["lost"]:
                    target.sendall(data)
            if not connection["lost"]:
                target.shutdown(socket.SHUT_WR)

    def lose(self) -> None:
        """Let the connections that there are go silent, without closing them; new ones work."""
        for connection in self.connections:
            connection["lost"] = True

    def stop(self) -> None:
        self.listener.close()
        for connection in self.connections:
            for end in connection["sockets"]:
                end.close()
