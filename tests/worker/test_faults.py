"""What AWS does to workers: lost containers, stops, outages, poison tasks, models that are away."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from worker_stack import WORKER, FakeModel, Proxy, Stack, died, eventually, health

QUESTION = "What is overfitting?"


def pool_process(api, url: str) -> int:
    """Return the pid of the pool process that runs a task, from the STARTED state in Redis."""
    stored = api.stack.client.get("celery-task-meta-" + url.split("/")[-2])
    return json.loads(stored)["result"]["pid"]


def log_grows(process, words: str):
    """Return a function that tells whether the log of `process` has come to say `words` once more."""
    before = process.log.read_text().count(words)
    return lambda: process.log.read_text().count(words) > before


def restart_redis(stack):
    """Take Redis away and bring it back; returns once the worker is connected again."""
    connected = log_grows(stack.worker_process, "Connected to")
    stack.kill(stack.redis)
    stack.start_redis()
    eventually(connected)


@contextlib.contextmanager
def redis_fault(stack, fault: str):
    """Redis is away, full, or read-only as the old primary of a failover is."""
    if fault == "away":
        stack.kill(stack.redis)
        yield
        stack.start_redis()
    elif fault == "full":
        stack.client.config_set("maxmemory", 1)
        yield
        stack.client.config_set("maxmemory", 0)
    else:
        stack.client.replicaof("127.0.0.1", 1)
        yield
        stack.client.replicaof("NO", "ONE")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("faults"))
    api = stack.api()
    api.stack = stack
    yield api
    stack.stop()


@pytest.fixture
def stack(api):
    """An empty Redis whose workers end with the test."""
    api.stack.client.flushall()
    started = len(api.stack.started)
    yield api.stack
    for process in api.stack.started[started:]:
        if process is not api.stack.redis:
            api.stack.kill(process)


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """Redis, beat, worker, API and a model."""
    stack, model = Stack(tmp_path_factory.mktemp("running")), FakeModel()
    stack.beat_process = stack.beat()
    stack.worker_process = stack.worker(**model.env)
    api = stack.api()
    api.stack = stack
    yield stack, api, model
    stack.stop()
    model.stop()


@pytest.fixture
def running(application):
    """An application whose worker outlives the tests that use it; its model begins each anew."""
    _, _, model = application
    model.let_go()
    model.statuses.clear()
    model.requests.clear()
    return application


def test_a_lost_container_loses_no_task_and_a_hung_task_no_worker(stack, api, model):
    limits = {"LANGGRAPH_TIME_LIMIT": 10, "EMBEDDINGS_TIME_LIMIT": 10}  # and so a visibility timeout of 12.5 s
    lost = stack.worker(**model.env, **limits)
    model.hold.set()
    url = api.ask(QUESTION)
    model.wait_for_requests(1)
    assert api.state(url) == "STARTED"
    stack.kill(lost)
    model.hold.clear()
    stack.worker(**model.env, **limits)
    status = api.outcome(url)
    assert status["state"] == "SUCCESS"
    assert status["result"]["answer"] == "The model's answer."
    eventually(lambda: stack.client.hlen("unacked") == 0)
    assert stack.client.llen("langgraph") == 0

    model.hold.set()
    status = api.outcome(api.ask(QUESTION))
    assert (status["state"], status["error"]) == ("FAILURE", "The task took longer than 9 s and was stopped.")
    model.hold.clear()
    assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"


def test_sigterm_lets_the_running_task_finish(stack, api, model):
    worker = stack.worker(**model.env)
    model.hold.set()
    running = api.ask(QUESTION)
    model.wait_for_requests(1)
    worker.terminate()
    eventually(lambda: "Warm shutdown" in worker.log.read_text())
    waiting = api.ask(QUESTION)
    model.let_go()
    assert worker.wait(60) == 0
    assert api.state(running) == "SUCCESS"
    assert api.state(waiting) == "PENDING"
    assert stack.client.llen("langgraph") == 1
    assert stack.client.hlen("unacked") == 0


def test_a_task_longer_than_the_stop_goes_back_to_the_queue(stack, api, model):
    worker = stack.worker(**model.env, STOP_TIMEOUT=16)  # hands back after 1 s
    model.hold.set()
    url = api.ask(QUESTION)
    model.wait_for_requests(1)
    worker.terminate()
    worker.wait(40)  # the task itself would last longer
    assert stack.client.llen("langgraph") == 1
    assert stack.client.hlen("unacked") == 0
    assert api.state(url) not in ("SUCCESS", "FAILURE")


def test_any_number_of_deployments_does_not_fail_a_task(stack, api, model):
    model.hold.set()
    url = api.ask(QUESTION)
    for deployment in range(1, 6):
        worker = stack.worker(**model.env)
        model.wait_for_requests(deployment)
        worker.send_signal(signal.SIGQUIT)  # as the worker itself does when its time is up
        worker.wait(60)
    model.let_go()
    stack.worker(**model.env)
    assert api.outcome(url)["state"] == "SUCCESS"


def test_a_lost_connection_does_not_delay_a_task_that_waits_for_its_time(stack):
    stack.worker_process = worker = stack.worker()
    command = ("celery", "-A", "config.celery", "call", "config.tasks.embed", '--args=[["x"]]', "--countdown=600")
    received = log_grows(worker, "received")
    stack.start(*command, **stack.urls())
    eventually(received)
    received = log_grows(worker, "received")
    restart_redis(stack)
    eventually(received)


def test_beat_remembers_its_last_runs(stack):
    def start_beat():
        beat = stack.beat(COURSES_REFRESH_INTERVAL=3600)
        eventually(lambda: health(beat, "beat") == 0 or died(beat))
        return beat

    stack.kill(start_beat())
    assert time.time() - float(stack.client.hget("nexus-learn:beat", "refresh-courses")) < 3600
    stack.client.hset("nexus-learn:beat", "refresh-courses", time.time() - 3600)
    beat = start_beat()
    eventually(lambda: stack.client.llen("embeddings") == 1)
    eventually(lambda: time.time() - float(stack.client.hget("nexus-learn:beat", "refresh-courses")) < 3600)
    stack.kill(beat)
    beat = start_beat()
    beat.terminate()
    beat.wait(60)
    assert "Sending due task" not in beat.log.read_text()


@pytest.fixture
def proxy(stack):
    proxy = Proxy(stack.port)
    yield proxy
    proxy.stop()


def test_connections_that_go_silent_are_replaced(stack, model, proxy):
    """Nothing is lost, and neither the API nor the worker hangs."""
    urls = {name: url.replace(str(stack.port), str(proxy.port)) for name, url in stack.urls().items()}
    worker = stack.worker(**model.env, **urls)
    api = stack.api(**urls)
    assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"
    proxy.lose()
    status, _ = api.request("/api/ai/ask-async/", {"student_id": "s", "question": QUESTION})
    assert status in (202, 503)  # within the 30 s that the test's client waits
    url = eventually(lambda: ask_if_possible(api))
    assert api.outcome(url, 60)["state"] == "SUCCESS"
    eventually(lambda: stack.client.hlen("unacked") == 0)
    assert not died(worker)


def ask_if_possible(api) -> str | None:
    status, body = api.request("/api/ai/ask-async/", {"student_id": "s", "question": QUESTION})
    return body["status_url"] if status == 202 else None


def test_a_wrong_password_never_looks_healthy(stack):
    urls = {name: url.replace("a-token", "another-token") for name, url in stack.urls().items()}
    command = ("celery", "-A", "config.celery")
    worker = stack.start(*command, "worker", "--queues=embeddings", "--concurrency=1", **urls)
    beat = stack.start(*command, "beat", **urls)
    for process in (worker, beat):
        eventually(lambda process=process: "invalid username-password" in process.log.read_text())
    assert health(worker, "worker") == 1
    assert health(beat, "beat") == 1


def test_reading_remote_control_messages_never_waits_for_one(stack):
    program = """
from queue import Empty
from config.celery import app
with app.connection() as connection:
    channel = connection.default_channel
    channel.subclient.subscribe("nothing-comes-here")
    channel.subclient.parse_response()
    try:
        channel._receive_one(channel.subclient)
    except Empty:
        print("nothing there")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=WORKER,
        env={**os.environ, **stack.urls()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "nothing there\n", done.stderr


def test_a_mistyped_queue_ends_the_worker(stack):
    worker = stack.start(
        "celery", "-A", "config.celery", "worker", "--queues=langgraf", "--concurrency=1", **stack.urls()
    )
    assert worker.wait(60) != 0
    assert "langgraf" in worker.log.read_text()


class TestOneWorker:
    """Faults that one and the same worker survives, one after another."""

    def test_a_model_that_is_away_is_asked_again_and_one_that_refuses_is_not(self, running):
        _, api, model = running
        model.statuses = [503, 429]
        status = api.outcome(api.ask(QUESTION))
        assert status["state"] == "SUCCESS"
        assert len(model.requests) == 3
        request = model.requests[0]
        assert (request["path"], request["key"], request["model"]) == ("/v1/chat/completions", "Bearer key", "fake")
        assert "training error" in request["messages"][1]["content"]
        model.statuses = [401]
        status = api.outcome(api.ask(QUESTION))
        assert (status["state"], status["error"]) == ("FAILURE", "Model fake answers with status 401")
        assert len(model.requests) == 4

    def test_a_long_task_leaves_the_worker_healthy(self, running):
        stack, api, model = running
        model.hold.set()
        url = api.ask(QUESTION)
        model.wait_for_requests(1)
        end = time.monotonic() + 11
        while time.monotonic() < end:
            assert health(stack.worker_process, "worker", max_age=10) == 0
            time.sleep(0.2)
        model.let_go()
        assert api.outcome(url)["state"] == "SUCCESS"

    def test_a_task_that_kills_its_process_is_given_up(self, running):
        _, api, model = running
        model.hold.set()
        url = api.ask(QUESTION)
        for delivery in range(1, 6):
            model.wait_for_requests(delivery)
            os.kill(pool_process(api, url), signal.SIGKILL)
        status = api.outcome(url)
        assert status["state"] == "FAILURE"
        assert "ended its worker process 5 times" in status["error"]
        assert len(model.requests) == 5
        model.hold.clear()
        assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"  # the queue moves on

    def test_health_fails_when_the_main_loop_hangs(self, running):
        worker = running[0].worker_process
        worker.send_signal(signal.SIGSTOP)
        eventually(lambda: health(worker, "worker", max_age=4) == 1, 15)
        worker.send_signal(signal.SIGCONT)
        eventually(lambda: health(worker, "worker", max_age=4) == 0, 15)

    def test_health_survives_an_outage_of_the_broker_and_tasks_go_on(self, running):
        """The outage lasts longer than the age that the health check allows."""
        stack, api, _ = running
        eventually(lambda: health(stack.beat_process, "beat", max_age=16) == 0)
        stack.kill(stack.redis)
        end = time.monotonic() + 18
        while time.monotonic() < end:
            assert health(stack.worker_process, "worker", max_age=16) == 0
            assert health(stack.beat_process, "beat", max_age=16) == 0
            time.sleep(0.3)
        stack.start_redis()
        assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"

    def test_a_lost_connection_does_not_delay_a_task_that_no_process_has_begun(self, running):
        stack, api, _ = running
        (process,) = psutil.Process(stack.worker_process.pid).children()
        process.suspend()
        url = api.ask(QUESTION)
        eventually(lambda: stack.client.hlen("unacked") == 1)
        restart_redis(stack)
        process.resume()
        assert api.outcome(url)["state"] == "SUCCESS"  # long before the visibility timeout of 375 s
        eventually(lambda: stack.client.hlen("unacked") == 0)

    def test_a_task_that_ran_through_a_lost_connection_is_acknowledged(self, running):
        stack, api, model = running
        model.hold.set()
        url = api.ask(QUESTION)
        eventually(lambda: api.state(url) == "STARTED")
        restart_redis(stack)
        model.let_go()
        assert api.outcome(url)["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)
        assert stack.client.llen("langgraph") == 0

    @pytest.mark.parametrize("fault", ["away", "full", "read-only"])
    def test_a_retry_that_cannot_be_published_is_not_lost(self, running, fault):
        stack, api, model = running
        model.hold.set()
        model.statuses = [503]
        url = api.ask(QUESTION)
        eventually(lambda: api.state(url) == "STARTED")
        rejected = log_grows(stack.worker_process, "reject requeue=True")
        refused = log_grows(stack.worker_process, "Redis does not take back or forget a message")
        with redis_fault(stack, fault):
            model.let_go()
            eventually(rejected if fault == "away" else refused)
        assert api.outcome(url)["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)
        assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"

    def test_closed_connections_lose_and_repeat_nothing(self, running):
        stack, api, model = running
        model.hold.set()
        urls = [api.ask(QUESTION) for _ in range(3)]
        model.wait_for_requests(1)
        connected = log_grows(stack.worker_process, "Connected to")
        for kind in ("normal", "pubsub"):
            stack.client.client_kill_filter(_type=kind, skipme=True)
        eventually(connected)
        model.let_go()
        for url in urls:
            assert api.outcome(url)["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)
        assert len(model.requests) == 3

    def test_a_pickled_message_is_refused_unread(self, running, tmp_path):
        stack, api, _ = running
        trap = f"cos\nsystem\n(S'touch {tmp_path}/opened'\ntR."
        refused = log_grows(stack.worker_process, "ContentDisallowed")
        message = {
            "body": base64.b64encode(trap.encode()).decode(),
            "content-type": "application/x-python-serialize",
            "content-encoding": "binary",
            "headers": {"id": "x", "task": "config.tasks.ask", "lang": "py"},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": "x",
                "delivery_info": {"exchange": "langgraph", "routing_key": "langgraph"},
                "delivery_tag": "x",
            },
        }
        stack.client.lpush("langgraph", json.dumps(message))
        eventually(refused)
        assert not (tmp_path / "opened").exists()
        assert api.outcome(api.ask(QUESTION))["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)

    @pytest.mark.parametrize("fault", ["away", "full", "read-only"])
    def test_a_result_that_cannot_be_stored_is_not_lost(self, running, fault):
        stack, api, model = running
        model.hold.set()
        url = api.ask(QUESTION)
        model.wait_for_requests(1)
        refused = log_grows(stack.worker_process, "Failed operation _store_result")
        with redis_fault(stack, fault):
            model.let_go()
            eventually(refused)
        assert api.outcome(url)["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)
        assert len(model.requests) == 1

    @pytest.mark.parametrize("fault", ["full", "read-only"])
    def test_messages_that_redis_refuses_to_record_are_not_lost(self, running, fault):
        stack, api, model = running
        worker = stack.worker_process
        model.hold.set()
        worker.send_signal(signal.SIGSTOP)  # its BRPOP goes on in Redis, and takes the first message
        urls = [api.ask(QUESTION) for _ in range(2)]
        with redis_fault(stack, fault):
            refused = log_grows(worker, "Redis does not record a message")
            worker.send_signal(signal.SIGCONT)
            eventually(refused)
        eventually(lambda: stack.client.hlen("unacked") == 1)
        model.let_go()
        for url in urls:
            assert api.outcome(url)["state"] == "SUCCESS"
        eventually(lambda: stack.client.hlen("unacked") == 0)
        assert len(model.requests) == 2

    def test_an_idle_worker_stops_soon(self, running):
        worker = running[0].worker_process
        worker.terminate()
        assert worker.wait(60) == 0  # well below the stop timeout of 120 s
