"""The whole application as a user meets it: API, Redis with AUTH, worker and beat."""

import json
import resource
import signal
import subprocess
import time
from http.client import HTTPConnection

import pytest
from worker_stack import TOKEN, WORKER, eventually, health


def test_a_question_is_answered_from_the_courses(shared):
    api = shared.client_api
    status = api.outcome(api.ask("How does photosynthesis work?"))
    assert status["state"] == "SUCCESS"
    result = status["result"]
    assert (result["student_id"], result["question"]) == ("s-1", "How does photosynthesis work?")
    assert "chloroplasts" in result["answer"]
    assert result["model"] == "extractive"
    assert result["sources"][0]["section"] == "Photosynthesis"


def test_a_question_that_the_courses_do_not_cover_is_declined(shared):
    api = shared.client_api
    result = api.outcome(api.ask("Who won the football world cup in 2014?"))["result"]
    assert result["answer"] == "The course material does not cover this question."
    assert result["sources"] == []


def test_embeddings_come_back_as_unit_vectors(shared):
    api = shared.client_api
    status, body = api.request("/api/ai/embed-async/", {"texts": ["a cat", "a kitten", "tax law"]})
    assert status == 202
    result = api.outcome(body["status_url"])["result"]
    cat, kitten, law = result["embeddings"]
    assert len(cat) == result["dimensions"] == 256
    assert sum(x * x for x in cat) == pytest.approx(1, abs=1e-3)

    def similarity(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert similarity(cat, kitten) > similarity(cat, law)


def test_tasks_travel_on_their_own_queues(shared):
    bindings = {name: shared.client.smembers(f"_kombu.binding.{name}") for name in ("langgraph", "embeddings")}
    for name, members in bindings.items():
        assert [member.split(b"\x06\x16") for member in members] == [[name.encode(), b"", name.encode()]]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("ask-async", b"not json", 400, "JSON object"),
        ("ask-async", b"\xff\xfe", 400, "JSON object"),
        ("ask-async", [], 400, "JSON object"),
        ("ask-async", b"[" * 200_000, 400, "JSON object"),
        ("ask-async", {"student_id": "\ud800", "question": "x"}, 400, "surrogate"),
        ("ask-async", {"student_id": "s", "question": "\ud800"}, 400, "surrogate"),
        ("embed-async", {"texts": ["\ud800"]}, 400, "surrogate"),
        ("ask-async", {"question": "x"}, 400, '"student_id"'),
        ("ask-async", {"student_id": "s"}, 400, '"question"'),
        ("ask-async", {"student_id": "s", "question": "  "}, 400, '"question"'),
        ("ask-async", {"student_id": 1, "question": "x"}, 400, '"student_id"'),
        ("ask-async", {"student_id": "s", "question": "x" * 8001}, 400, "8000 characters"),
        ("ask-async", b" " * 300_000, 413, "256 KiB"),
        ("embed-async", {"texts": "x"}, 400, '"texts"'),
        ("embed-async", {"texts": []}, 400, "1 to 64"),
        ("embed-async", {"texts": ["x"] * 65}, 400, "1 to 64"),
        ("embed-async", {"texts": ["x", None]}, 400, '"texts"'),
    ],
)
def test_bad_input_gets_a_sentence(shared, path, body, status, words):
    answer = shared.client_api.request(f"/api/ai/{path}/", body)
    assert answer[0] == status
    assert words in answer[1]["error"]


def test_unknown_tasks_and_paths(shared):
    status, body = shared.client_api.request("/api/ai/tasks/00000000-0000-4000-8000-000000000000/")
    assert (status, body["error"]) == (404, "No task has this id, or its result is older than 24 hours.")
    assert shared.client_api.request("/api/ai/tasks/x/")[0] == 404
    assert shared.client_api.request("/api/ai/ask-async/")[0] == 405


def test_beat_refreshes_the_courses_again_and_again(shared):
    def refreshed_at():
        courses = shared.client_api.request("/ready")[1]["courses"]
        return courses and courses["refreshed_at"]

    first = eventually(refreshed_at)
    eventually(lambda: refreshed_at() > first)
    courses = shared.client_api.request("/ready")[1]["courses"]
    assert courses["found"] == courses["passages"] > 50


def test_health_commands_are_quick_and_right(shared):
    for process, role in (
        (shared.client_api.process, "api"),
        (shared.worker_process, "worker"),
        (shared.beat_process, "beat"),
    ):
        eventually(lambda process=process, role=role: health(process, role) == 0)
        other = "beat" if role == "worker" else "worker"
        assert health(process, other) == 1  # a file of another role, or of another container, does not count
    costs = []  # CPU seconds: unlike the time on the wall they do not depend on what else runs here
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        health(shared.worker_process, "worker")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.2


@pytest.mark.parametrize(("command", "words"), [("active", "1 node online"), ("registered", "config.tasks.ask")])
def test_inspect_answers(shared, command, words):
    def answers():
        done = subprocess.run(
            ["celery", "-A", "config.celery", "inspect", "--timeout=2", command],
            cwd=WORKER,
            env=shared.worker_process.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return words in done.stdout

    eventually(answers)


def test_questions_and_answers_stay_out_of_the_log(shared):
    api = shared.client_api
    api.outcome(api.ask("Why do I keep forgetting secret-word?"))
    log = shared.worker_process.log.read_text() + api.process.log.read_text()
    assert "succeeded in" in log
    assert "secret-word" not in log


def test_results_and_replies_expire(shared):
    """Reply queues of `celery inspect` without an expiry once filled whole nodes."""

    def keys(part: bytes) -> list[bytes]:
        return [key for key in shared.client.scan_iter() if part in key and not key.startswith(b"_kombu.")]

    shared.client_api.ask("x")
    shared.worker_process.send_signal(signal.SIGSTOP)
    questions = shared.client.pubsub(ignore_subscribe_messages=True)
    questions.psubscribe("*celery.pidbox")
    asking = shared.start("celery", "-A", "config.celery", "inspect", "--timeout=60", "active", **shared.urls())
    eventually(lambda: shared.client.exists("_kombu.binding.reply.celery.pidbox"))
    eventually(lambda: questions.get_message(timeout=1))  # of which the worker hears when it goes on
    questions.close()
    shared.kill(asking)
    shared.worker_process.send_signal(signal.SIGCONT)
    replies = eventually(lambda: keys(b"reply.celery.pidbox"))
    for key in keys(b"celery-task-meta-") + replies:
        eventually(lambda key=key: shared.client.ttl(key) != -1)
        assert shared.client.ttl(key) <= 24 * 3600


@pytest.mark.parametrize(
    ("task", "queue"), [("ask", "langgraph"), ("embed", "embeddings"), ("refresh_courses", "embeddings")]
)
def test_each_task_goes_to_its_queue(stack, task, queue):
    sending = stack.start("celery", "-A", "config.celery", "call", f"config.tasks.{task}", **stack.urls())
    assert sending.wait(60) == 0
    assert {name: stack.client.llen(name) for name in ("langgraph", "embeddings")} == {
        "langgraph": int(queue == "langgraph"),
        "embeddings": int(queue == "embeddings"),
    }


def test_queues_tell_what_waits_and_what_is_worked_on(stack, model):
    api = stack.api()
    for _ in range(2):
        api.ask("How does photosynthesis work?")
    assert api.request("/api/ai/queues/") == (200, {"queues": {"embeddings": 0, "langgraph": 2}, "unacked": 0})
    model.hold.set()
    stack.worker(**model.env)
    model.wait_for_requests(1)
    assert api.request("/api/ai/queues/") == (200, {"queues": {"embeddings": 0, "langgraph": 1}, "unacked": 1})


def test_api_without_broker_says_so_within_seconds(stack):
    api = stack.api()
    stack.kill(stack.started[0])
    for path, body in (
        ("/api/ai/ask-async/", {"student_id": "s", "question": "x"}),
        ("/api/ai/embed-async/", {"texts": ["x"]}),
        ("/api/ai/tasks/00000000-0000-4000-8000-000000000000/", None),
        ("/ready", None),
        ("/api/ai/queues/", None),
    ):
        status, answer = api.request(path, body)  # times out itself when the API hangs
        assert status == 503
        assert "cannot be reached" in answer["error"]
    assert api.request("/health") == (200, {"status": "ok"})
    stack.start_redis()
    api.ask("x")  # and it recovers by itself


def test_api_with_a_silent_broker_says_so_within_seconds(stack):
    api = stack.api()
    api.ask("x")
    stack.started[0].send_signal(signal.SIGSTOP)
    status, answer = api.request("/api/ai/ask-async/", {"student_id": "s", "question": "x"})
    assert status == 503
    assert "cannot be reached" in answer["error"]


def test_api_with_a_full_or_read_only_broker_says_so(stack):
    api = stack.api()
    stack.client.config_set("maxmemory", 1)
    assert api.request("/api/ai/ask-async/", {"student_id": "s", "question": "x"})[0] == 503
    stack.client.config_set("maxmemory", 0)
    stack.client.replicaof("127.0.0.1", 1)
    assert api.request("/api/ai/ask-async/", {"student_id": "s", "question": "x"})[0] == 503
    stack.client.replicaof("NO", "ONE")
    api.ask("x")


def test_api_keeps_an_idle_connection_for_the_load_balancer(shared):
    connection = HTTPConnection("127.0.0.1", shared.client_api.port, timeout=30)
    connection.auto_open = False  # no second connection behind the test's back
    connection.connect()
    for idle in (7, 0):  # seconds; uvicorn's own limit is 5
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        time.sleep(idle)
    connection.close()


def test_api_ends_with_code_0_at_sigterm(stack):
    process = stack.api().process
    process.terminate()
    assert process.wait(60) == 0


def test_the_diagnosis_tells_queues_their_consumers_and_what_is_lost(shared):
    """A message at work counts as lost once no worker knows of it."""
    api, redis = shared.client_api, shared.client
    status, found = api.request("/api/ai/diagnosis/")
    assert status == 200
    assert found["errors"] == {}
    assert found["consumers"] == {"langgraph": 1, "embeddings": 1}
    assert found["workers"] == {"listening": 1, "answering": 1}
    assert found["redis"]["maxmemory_policy"] == "noeviction"
    assert found["beat"]["refresh-courses"]["last_run"] < 10
    redis.hset("unacked", "tag", json.dumps([{"headers": {"id": "of-a-worker-that-is-gone"}}, "", ""]))
    redis.zadd("unacked_index", {"tag": time.time() - 60})
    try:
        lost = eventually(lambda: api.request("/api/ai/diagnosis/")[1]["unacked"]["lost"])
    finally:
        redis.zrem("unacked_index", "tag")
        redis.hdel("unacked", "tag")
    assert lost == 1


def test_the_diagnosis_says_what_keeps_it_from_redis(shared):
    wrong = shared.url.replace(f":{TOKEN}@", ":another-token@")
    api = shared.api(CELERY_BROKER_URL=wrong, CELERY_RESULT_BACKEND=wrong)
    status, found = api.request("/api/ai/diagnosis/")
    assert status == 200
    assert set(found["errors"].values()) == {"AuthenticationError"}
