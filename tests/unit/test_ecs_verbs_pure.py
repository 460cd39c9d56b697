"""What the verbs of a service's life make of names, times and states: pure."""

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import (
    ecs_service_deployment,
    ecs_service_status,
    ecs_verbs,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_task_logs import seconds
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Refused


@pytest.mark.parametrize(
    ("naming", "name", "short"),
    [
        ("nexus-learn-*-service", "nexus-learn-celery-worker-service", "celery-worker"),
        ("nexus-learn-*-service", "nexus-learn-service", "nexus-learn-service"),
        ("nexus-learn-*-service", "other-celery-worker-service", "other-celery-worker-service"),
        ("*", "celery-worker", "celery-worker"),
    ],
)
def test_short_name(naming, name, short):
    assert ecs_verbs.short_name({"naming": naming}, name) == short


@pytest.mark.parametrize(
    ("to", "is_it"),
    [
        ("7", True), (":7", True), ("repo/app:7", True), ("1:7", False), ("17", False), ("app", False), ("p:7", False),
        ("sha256:ab", False),
    ],
)  # fmt: skip
def test_image_by_its_tag(to, is_it):
    assert ecs_service_deployment.named("repo/app:7", to) is is_it


def test_image_by_its_digest():
    assert ecs_service_deployment.named("repo/app@sha256:ab", "sha256:ab")
    assert not ecs_service_deployment.named("repo/app@sha256:ab", "sha256:b")


def test_since():
    assert [seconds(text) for text in ("90s", "10m", "2h", "1d")] == [90, 600, 7200, 86400]
    for text in ("10", "m", "1.5h", "-1h", ""):
        with pytest.raises(Refused, match="10m"):
            seconds(text)


def test_a_deployment_in_progress_says_where_it_stands():
    service = {
        "name": "celery-worker", "status": "ACTIVE", "running": 2, "desired": 2, "pending": 1, "scaler": None,
        "deployments": [
            {"task_definition": "w:6", "image": "w:b", "state": "IN_PROGRESS", "status": "PRIMARY", "since": "12:00",
             "running": 0, "desired": 2, "failed": 1, "reason": "ECS deployment 1 in progress."},
            {"task_definition": "w:5", "image": "w:a", "state": "COMPLETED", "status": "ACTIVE", "since": "11:00",
             "running": 2, "desired": 2, "failed": 0, "reason": "ECS deployment 0 completed."},
        ],
        "tasks": [], "events": [{"at": "12:01", "message": "(service w) has started 1 tasks."}],
    }  # fmt: skip
    assert ecs_service_status.lines({"cluster": "c", "services": [service], "alarms": []}) == [
        "celery-worker: 2 of 2 running, 1 pending; no scaler",
        "  deployment w:6 (w:b) IN_PROGRESS since 12:00: 0 of 2 running, 1 tasks failed",
        "    ECS deployment 1 in progress.",
        "  deployment w:5 (w:a) COMPLETED since 11:00: 2 of 2 running",
        "  12:01 (service w) has started 1 tasks.",
        "",
    ]
    assert ecs_service_status.lines({"cluster": "c", "services": [], "alarms": []}) == ["There is no service in c."]
