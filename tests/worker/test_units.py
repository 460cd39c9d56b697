"""The parts that need no Redis: settings, embeddings, courses, the models that answer, and the heartbeat file."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from config import answer_models, answers, courses, embeddings, health, settings
from worker_stack import WORKER

URL = "redis://127.0.0.1:6379/0"
URLS = {"CELERY_BROKER_URL": URL, "CELERY_RESULT_BACKEND": URL}


def load_settings(expression: str, **env) -> subprocess.CompletedProcess:
    """Print `expression` of the settings that a process with just this environment has."""
    return subprocess.run(
        [sys.executable, "-c", f"from config import settings as s; print({expression})"],
        cwd=WORKER,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "CELERY_BROKER_URL is not set"),
        ({"CELERY_BROKER_URL": URL}, "CELERY_RESULT_BACKEND is not set"),
        ({**URLS, "CELERY_BROKER_URL": "amqp://host/"}, "CELERY_BROKER_URL must look like"),
        ({**URLS, "CELERY_RESULT_BACKEND": "rediss://:t@host:6379/0"}, "add ?ssl_cert_reqs=required"),
        ({**URLS, "ANSWER_MODEL": "gpt"}, "ANSWER_MODEL must be"),
        ({**URLS, "ANSWER_MODEL": "bedrock:"}, "ANSWER_MODEL must be"),
        ({**URLS, "ANSWER_MODEL": "openai:x"}, "OPENAI_BASE_URL is not set"),
        ({**URLS, "LANGGRAPH_TIME_LIMIT": "soon"}, "LANGGRAPH_TIME_LIMIT must be a number"),
        ({**URLS, "STOP_TIMEOUT": "-1"}, "STOP_TIMEOUT must be a number"),
    ],
)
def test_wrong_settings_end_the_process_with_one_sentence(env, words):
    done = load_settings("1", **env)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert ":t@" not in done.stderr  # nor with the token


def test_host_and_port_make_the_urls():
    done = load_settings("s.BROKER_URL, s.RESULT_BACKEND", REDIS_HOST="redis.example", REDIS_PORT="6380")
    assert done.stdout.strip() == "redis://redis.example:6380/0 redis://redis.example:6380/0"


def test_a_message_stays_reserved_for_longer_than_any_task_may_run():
    done = load_settings("s.VISIBILITY_TIMEOUT", **URLS, EMBEDDINGS_TIME_LIMIT="1000")
    assert float(done.stdout) > 1000


def test_the_health_command_needs_no_settings():
    done = subprocess.run(
        [sys.executable, "-m", "config.health", "worker"],
        cwd=WORKER,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "has not come up" in done.stdout) == (1, True)


def test_containers_that_share_a_folder_have_heartbeats_of_their_own(monkeypatch):
    monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/one")
    one = health.heartbeat_file("worker")
    assert one == health.heartbeat_file("worker") != health.heartbeat_file("beat")
    monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/two")
    assert one != health.heartbeat_file("worker")


def test_embeddings_come_from_the_wheel_alone(monkeypatch, tmp_path):
    """Loads the model with no network, no cache and no home folder."""

    def refuse(*_):
        raise AssertionError("tried to use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    embeddings._model.cache_clear()
    vectors = embeddings.embed(["A cell divides.", "Cells split in two.", "Inflation raises prices."])
    assert vectors.shape == (3, embeddings.DIMENSIONS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert list(tmp_path.iterdir()) == []
    assert embeddings.embed([]).shape == (0, embeddings.DIMENSIONS)


def test_the_index_follows_the_files(tmp_path):
    index = courses.Index(tmp_path)
    assert index.refresh() == {"embedded": 0, "removed": 0, "unchanged": 0}
    assert index.search("anything", 3) == []
    (tmp_path / "tea.md").write_text("# Tea\n\n## Green tea\nIt is steamed.\n\n## Black tea\nIt is\noxidised.\n")
    (tmp_path / "cars.md").write_text("# Cars\n\n## Engines\nThey burn fuel.\n")
    assert index.refresh() == {"embedded": 2, "removed": 0, "unchanged": 0}
    assert index.search("black tea", 1)[0][0] == courses.Passage("Tea", "Black tea", "It is oxidised.")
    assert index.refresh() == {"embedded": 0, "removed": 0, "unchanged": 2}
    os.remove(tmp_path / "tea.md")
    (tmp_path / "cars.md").write_text("# Cars\n\n## Brakes and wheels\nThey stop the car.\n")
    assert index.refresh() == {"embedded": 1, "removed": 1, "unchanged": 0}
    assert [passage.section for passage in index.passages] == ["Brakes and wheels"]


@pytest.mark.parametrize(
    ("question", "course", "words"),
    [
        ("What is overfitting?", "Machine Learning", "noise of the training data"),
        ("Why is my database query slow?", "Databases and SQL", "index"),
        ("When did the French Revolution begin?", "World History", "1789"),
        ("How can I remember things for longer?", "Learning How to Learn", "memor"),
    ],
)
def test_answers_come_from_the_right_course(question, course, words):
    answer = answers.ask(question)
    assert answer["sources"][0]["course"] == course
    assert words in answer["answer"]


@pytest.fixture
def bedrock(model, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings, "ANSWER_MODEL", ("bedrock", "some.model-v1:0"))
    answer_models._bedrock_client.cache_clear()
    return model


def test_bedrock_answers(bedrock):
    answer = answers.ask("What is overfitting?")
    assert answer["answer"] == "The model's answer."
    assert answer["model"] == "bedrock:some.model-v1:0"
    assert bedrock.requests[0]["path"] == "/model/some.model-v1%3A0/converse"
    assert "training error" in bedrock.requests[0]["messages"][0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, answer_models.ModelUnavailable), (503, answer_models.ModelUnavailable), (403, answer_models.ModelRefused)],
)
def test_bedrock_errors_are_told_apart(bedrock, status, error):
    bedrock.statuses = [status]
    with pytest.raises(error):
        answers.ask("What is overfitting?")
    assert len(bedrock.requests) == 1  # no retries inside: they are Celery's


def test_the_reasoning_of_a_bedrock_model_is_not_its_answer(bedrock):
    bedrock.blocks.insert(0, {"reasoningContent": {"reasoningText": {"text": "Let me think."}}})
    assert answers.ask("What is overfitting?")["answer"] == "The model's answer."
    del bedrock.blocks[1]
    with pytest.raises(answer_models.ModelRefused, match="answers without a text"):
        answers.ask("What is overfitting?")


def test_an_openai_model_without_an_answer_has_refused(model, monkeypatch):
    monkeypatch.setattr(settings, "ANSWER_MODEL", ("openai", "x"))
    monkeypatch.setattr(settings, "OPENAI_BASE_URL", model.url)
    assert answers.ask("What is overfitting?")["answer"] == "The model's answer."
    model.text = None
    with pytest.raises(answer_models.ModelRefused, match="answers without a text"):
        answers.ask("What is overfitting?")


def test_models_that_cannot_be_reached_are_unavailable(monkeypatch):
    monkeypatch.setattr(settings, "ANSWER_MODEL", ("openai", "x"))
    monkeypatch.setattr(settings, "OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(answer_models.ModelUnavailable, match="OPENAI_BASE_URL does not answer"):
        answers.ask("What is overfitting?")
