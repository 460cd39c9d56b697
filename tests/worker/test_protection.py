"""Scale-in protection: when a worker asks for it and gives it up, and what becomes of its tasks meanwhile."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from config import protection
from worker_stack import eventually

QUESTION = "What is overfitting?"
# A worker whose waits are short, and whose minutes are those of a sandbox where a minute is a second.
WORKER = (
    sys.executable,
    "-c",
    "import sys; from config import protection; from celery.__main__ import main; "
    "protection.MINUTE = protection.RETRY_INTERVAL = protection.AGENT_TIMEOUT = 1; sys.exit(main())",
    *("-A", "config.celery", "worker", "--queues=langgraph", "--concurrency=2", "--loglevel=INFO"),
)
LONGEST = 300  # seconds; of which a lease is twice as many, 10 minutes


class Ecs:
    """What Protection asks of: each request, by the time of `now`, and what comes of the next ones."""

    def __init__(self):
        self.now = 1000.0
        self.asked: list[tuple[float, int]] = []
        self.problem: Exception | None = None
        self.protection = protection.Protection(self.protect, 10, LONGEST)

    def protect(self, minutes: int) -> None:
        self.asked.append((self.now - 1000, minutes))
        if self.problem:
            raise self.problem

    def look(self, *ages: float, seconds: int = 1) -> list[tuple[float, int]]:
        """Look once a second while these tasks run; return the requests."""
        self.asked.clear()
        for passed in range(seconds):
            self.protection.look([age + passed for age in ages], self.now)
            self.now += 1
        return self.asked


@pytest.fixture
def ecs(monkeypatch):
    monkeypatch.setattr(protection.random, "uniform", lambda low, high: high)
    yield Ecs()
    protection.draining.clear()


def test_a_long_task_is_protected_until_the_worker_is_idle(ecs):
    assert ecs.look(seconds=100) == []
    assert ecs.look(0, seconds=10) == []
    assert ecs.look(10, 1) == [(110, 10)]
    assert ecs.look(11, 2, seconds=200) == []
    assert ecs.look(3) == []  # a short task is left
    assert ecs.look() == []  # another may be on its way
    assert ecs.look(3) == []
    assert ecs.look(seconds=5) == [(315, 0)]


def test_it_is_renewed_at_half_time(ecs):
    ecs.look(10)
    assert ecs.look(11, seconds=310) == [(300, 10)]


@pytest.mark.parametrize("problem", [TimeoutError("timed out"), protection.Refused("500 ServerException")])
def test_what_fails_is_tried_again(ecs, problem, caplog):
    ecs.problem = problem
    assert ecs.look(10, seconds=25) == [(0, 10), (10, 10), (20, 10)]
    assert len(caplog.records) == 1  # not one for each attempt
    ecs.problem = None
    assert ecs.look(35, seconds=10) == [(30, 10)]
    ecs.problem = problem
    assert ecs.look(seconds=25) == [(36, 0), (46, 0), (56, 0)]
    ecs.problem = None
    assert ecs.look(seconds=30) == [(66, 0)]


def test_an_answer_that_is_lost_is_taken_for_a_yes_and_a_no(ecs):
    ecs.problem = TimeoutError()
    ecs.look(10)
    assert ecs.look() == []  # too soon after a failure
    ecs.problem = None
    assert ecs.look(seconds=20) == [(10, 0)]
    ecs.problem = protection.Refused("TASK_NOT_VALID")
    assert ecs.look(10) == [(22, 10)]
    assert ecs.look(seconds=20) == []


def test_protection_that_cannot_be_renewed_is_known_to_expire(ecs, caplog):
    ecs.look(10)
    ecs.problem = TimeoutError()
    ecs.look(0, seconds=601)
    assert "expired" in caplog.text
    assert ecs.look(0, seconds=8) == []
    ecs.problem = None
    assert len(ecs.look(10, seconds=11)) == 1


def test_a_worker_that_is_never_idle_offers_itself_to_ecs(ecs):
    ecs.look(10)
    ecs.look(10, seconds=599)
    assert not protection.draining.is_set()
    assert ecs.look(10, seconds=LONGEST) == [(600, 10)]  # the renewal covers what still runs
    assert protection.draining.is_set()
    assert ecs.look(seconds=protection.PAUSE + 1) == [(901, 0)]
    assert protection.draining.is_set()
    ecs.look()
    assert not protection.draining.is_set()
    assert ecs.look(10) == [(917, 10)]
    ecs.look(10, seconds=590)
    assert not protection.draining.is_set()


def test_an_agent_that_fails_does_not_keep_an_idle_worker_from_tasks(ecs):
    ecs.look(10)
    ecs.look(10, seconds=600)
    assert protection.draining.is_set()
    ecs.problem = TimeoutError()
    ecs.look(seconds=protection.PAUSE + 2)
    assert not protection.draining.is_set()
    ecs.look(10, seconds=300)
    assert not protection.draining.is_set()


def test_a_renewal_that_is_refused_for_others_lets_the_running_tasks_end(ecs):
    ecs.problem = protection.Refused(protection.BLOCKED)
    ecs.look(10, seconds=30)  # a new worker, while the old ones are protected
    assert not protection.draining.is_set()
    ecs.problem = None
    ecs.look(10, seconds=10)
    ecs.problem = protection.Refused(protection.BLOCKED)
    assert len(ecs.look(10, seconds=310)) == 1
    assert protection.draining.is_set()


def test_a_lease_is_one_that_ecs_gives():
    asked = []
    for longest in (5, 31, 7 * 24 * 3600):
        protection.Protection(asked.append, 10, longest).look([10], 1000)
    assert asked == [1, 2, 2880]


class FakeAgent:
    """The agent's endpoint; `status` is what it answers with, and it does not answer at all while `hold` is set."""

    def __init__(self):
        self.status = 200
        self.hold = threading.Event()
        self.release = threading.Event()
        self.requests: list[dict] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                agent.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if agent.hold.is_set():
                    agent.release.wait(60)
                answer = (
                    {"protection": {}}
                    if agent.status == 200
                    else {"error": {"Code": "ServerException", "Message": "no"}}
                )
                self.send_response(agent.status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # who asked has gone
        self.env = {"ECS_AGENT_URI": f"http://127.0.0.1:{self.server.server_port}/api/x"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.hold.clear()
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def agent():
    agent = FakeAgent()
    yield agent
    agent.stop()


def test_an_agent_that_hangs_or_fails_delays_nothing_and_is_asked_again(stack, model, agent):
    agent.hold.set()
    worker = stack.start(*WORKER, **stack.urls(), **model.env, **agent.env, PROTECT_AFTER=1)
    api = stack.api()
    model.hold.set()
    first = api.ask(QUESTION)
    eventually(lambda: agent.requests)
    model.let_go()
    for url in (first, api.ask(QUESTION), api.ask(QUESTION)):
        assert api.outcome(url)["state"] == "SUCCESS"
    agent.status = 500
    agent.hold.clear()
    model.hold.set()
    long = api.ask(QUESTION)
    eventually(lambda: "cannot be had, trying again: 500 ServerException: no" in worker.log.read_text())
    agent.status = 200
    eventually(lambda: "Protected from scale-in" in worker.log.read_text())
    agent.hold.set()
    model.let_go()
    assert api.outcome(long)["state"] == "SUCCESS"
    eventually(lambda: agent.requests[-1] == {"ProtectionEnabled": False})
    worker.terminate()
    assert worker.wait(60) == 0
    assert len(model.requests) == 4


def test_there_is_none_without_an_agent_or_if_it_is_not_wanted(monkeypatch):
    step = protection.Step.__new__(protection.Step)
    for after, uri, expected in ((10, "http://127.0.0.1/api/x", True), (10, None, False), (0, "http://x", False)):
        monkeypatch.setattr(protection.settings, "PROTECT_AFTER", after)
        monkeypatch.delenv("ECS_AGENT_URI", raising=False)
        if uri:
            monkeypatch.setenv("ECS_AGENT_URI", uri)
        assert step.include_if(None) is expected
