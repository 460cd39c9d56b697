"""playbooks/deploy.yml on a deployed dev stack: a good version, a bad one, one whose run is killed. In this order."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
import steps
from conftest import ROOT

DEPLOY = ("playbooks/deploy.yml", "-i", "inventories/dev")
API, WORKER, BEAT = (f"nexus-learn-{name}-service" for name in ("backend", "celery-worker", "celery-beat"))
TOGETHER, LAST = "Follow the roll-out of the API and the workers", "Follow the roll-out of beat"


@pytest.fixture(scope="module", autouse=True)
def deployed(console):
    return console.playbook("site.yml", "-i", "inventories/dev")


@pytest.fixture(scope="module")
def ecs(console):
    return console.sandbox.client("ecs")


def images(ecs) -> dict[str, str]:
    """The image that each service's running tasks have, by service."""
    found = {}
    for service in (API, WORKER, BEAT):
        arns = ecs.list_tasks(cluster="nexus-learn-cluster", serviceName=service)["taskArns"]
        tasks = ecs.describe_tasks(cluster="nexus-learn-cluster", tasks=arns)["tasks"]
        found[service] = {container["image"] for task in tasks for container in task["containers"]}
    return {service: image.pop() for service, image in found.items() if len(image) == 1}


def beats(ecs) -> list[dict]:
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster="nexus-learn-cluster", serviceName=BEAT, desiredStatus=status)["taskArns"]
    ]
    tasks = ecs.describe_tasks(cluster="nexus-learn-cluster", tasks=arns)["tasks"]
    return sorted(tasks, key=lambda task: task["createdAt"])


def test_a_version_is_foretold_and_rolled_out_beat_last(console, ecs):
    check = console.playbook(*DEPLOY, "-e", "image_tag=2", "--check", "--diff")
    assert steps.writes(check.step) == []
    run = console.playbook(*DEPLOY, "-e", "image_tag=2")
    assert steps.unforetold(check.step, run.step) == []
    assert run.plan["counts"] == {"create": 0, "update": 3, "replace": 0, "delete": 0, "unchanged": 9}
    assert images(ecs) == dict.fromkeys((API, WORKER, BEAT), "nexus-learn-worker:2")

    for service, family in ((API, "backend"), (WORKER, "celery-worker"), (BEAT, "celery-beat")):
        assert f"(service {service}) (deployment ecs-svc/" in run.output
        assert f"{service}: nexus-learn-{family}:2 (nexus-learn-worker:2), " in run.output
    # the events of a task's roll-out stand above its title: it is shown when it ends
    first, _, rest = run.output.partition(TOGETHER)
    assert f"(service {API}) has started" in first
    assert f"(service {WORKER}) has started" in first
    assert f"(service {BEAT})" not in first
    assert f"(service {BEAT}) has started" in rest.partition(LAST)[0]
    old, new = beats(ecs)
    assert old["stoppedAt"] <= new["createdAt"], "never two beats"
    assert (
        "app_image is nexus-learn-worker:latest. Set app_image in the inventory to nexus-learn-worker:2, or" in run.text
    )


def test_the_same_again_changes_nothing(console):
    run = console.playbook(*DEPLOY, "-e", "image_tag=2")
    assert run.changed == 0
    assert steps.writes(run.step) == []


def test_a_digest_takes_the_place_of_a_tag(console):
    digest = "sha256:" + 64 * "0"
    run = console.playbook(*DEPLOY, "-e", f"image_tag={digest}", "--check")
    assert {change["after"] for change in run.plan["changes"]} == {f"nexus-learn-worker@{digest}"}


def test_a_version_that_is_not_there_is_refused_before_anything_is_touched(console):
    missing = "123456789012.dkr.ecr.us-east-1.amazonaws.com/none"
    run = console.playbook(*DEPLOY, "-e", f"app_image={missing}:1", "-e", "image_tag=2", succeeds=False)
    assert "Nothing was touched. Before the next deployment:" in run.text
    assert f"image: {missing}:2" in run.text
    assert steps.writes(run.step) == []


def test_a_worker_that_crashes_fails_the_play_and_says_why(console, ecs):
    beat = beats(ecs)
    newer, also = "app_image=nexus-learn-worker:3", "(and -e as before: ecs_celery_worker_app)"
    run = console.playbook(*DEPLOY, "-e", newer, "-e", "ecs_celery_worker_app=config.nothing", succeeds=False)
    [failure] = run.plan["failures"]
    assert failure["task"] == TOGETHER
    for part in (
        "1 of 2 services did not come up as asked",
        f"service {WORKER}: deployment ecs-svc/",
        "of nexus-learn-celery-worker:3 failed",
        "EssentialContainerExited",
        "container celery-worker: exit code 2",
        "last log lines of /ecs/nexus-learn/celery-worker",
        "config.nothing",
        "serving now: nexus-learn-celery-worker:2 (2 of 2 tasks)",
        f"ansible-playbook playbooks/deploy.yml -i inventories/dev -e {newer} {also}",
    ):
        assert part in failure["msg"]
    # what came up is told as done, what was rolled back is not
    assert {change["resource"] for change in run.plan["changes"]} == {f"service {API}"}
    assert {change["resource"] for change in failure["planned"]} == {f"service {WORKER}"}
    assert [item["resource"] for item in run.plan["not_reached"]] == [f"service {BEAT}"]
    assert images(ecs)[WORKER] == "nexus-learn-worker:2", "the old version serves"
    assert [task["taskArn"] for task in beats(ecs)] == [task["taskArn"] for task in beat]
    journal = console.playbook("playbooks/journal.yml", "-i", "inventories/dev", "-e", "last=1")
    assert "failed" in journal.output
    assert "exit code 2" in journal.text


def test_a_beat_that_crashes_fails_the_play_and_the_old_one_serves(console):
    """After two tasks; of ECS's own threshold, three at least, one task falls short for a long time."""
    arguments = (*DEPLOY, "-e", "image_tag=2", "-e", "ecs_celery_beat_app=config.nothing")
    [failure] = console.playbook(*arguments, succeeds=False).plan["failures"]
    assert failure["task"] == LAST
    for part in ("1 of 1 services did not come up", f"service {BEAT}", "container celery-beat: exit code 2"):
        assert part in failure["msg"]
    assert "2 of its tasks stopped" in failure["msg"]
    assert "(1 of 1 tasks)" in failure["msg"].partition("serving now: nexus-learn-celery-beat:")[2]


MIGRATION = "ecs_backend_migration_command"


def test_a_migration_that_fails_leaves_everything_as_it_is(console, ecs):
    before = images(ecs)
    command = ["python", "-c", "raise SystemExit('no such column')"]
    run = console.playbook(*DEPLOY, "-e", "image_tag=5", "-e", json.dumps({MIGRATION: command}), succeeds=False)
    [failure] = run.plan["failures"]
    assert "nothing was deployed, because the task before it failed (run_task_before: python -c" in failure["msg"]
    assert "no such column" in failure["msg"]
    assert "exit code 1" in failure["msg"]
    assert images(ecs) == before


def test_a_migration_runs_before_the_version_it_belongs_to(console, ecs):
    command = json.dumps({MIGRATION: ["python", "-c", "print('migrated', 2 * 21)"]})
    arguments = (*DEPLOY, "-e", "image_tag=5", "-e", command)
    check = console.playbook(*arguments, "--check")
    run = console.playbook(*arguments)
    assert steps.unforetold(check.step, run.step) == []
    assert run.output.index("migrated 42") < run.output.index(f"(service {API}) has started")
    assert images(ecs) == dict.fromkeys((API, WORKER, BEAT), "nexus-learn-worker:5")
    assert console.playbook(*arguments).changed == 0


def test_what_a_killed_run_began_is_taken_up(console, ecs):
    with subprocess.Popen(
        ["ansible-playbook", *DEPLOY, "-e", "app_image=nexus-learn-worker:6"],
        cwd=ROOT,
        env={**console.env, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if f"(service {WORKER}) has started" in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
    run = console.playbook(*DEPLOY, "-e", "app_image=nexus-learn-worker:6")
    assert "Set app_image in the inventory to nexus-learn-worker:6, or the next run of site.yml goes back" in run.text
    # all that was left is beat
    assert [change["resource"] for change in run.plan["changes"]] == [f"service {BEAT}"]
    assert images(ecs) == dict.fromkeys((API, WORKER, BEAT), "nexus-learn-worker:6")


def test_site_goes_back_to_what_the_inventory_says(console, ecs):
    run = console.playbook("site.yml", "-i", "inventories/dev", "-e", "image_tag=6", "--check")
    assert run.changed == 0
    run = console.playbook("site.yml", "-i", "inventories/dev", "--check")
    images = {(change["before"], change["after"]) for change in run.plan["changes"]}
    assert images == {("nexus-learn-worker:6", "nexus-learn-worker:latest")}


def test_a_new_version_of_a_secret_is_foretold_and_rolled_out(console):
    secrets = console.sandbox.client("secretsmanager")
    secret = secrets.create_secret(Name="nexus-learn/mail", SecretString='{"password": "first"}')
    given = json.dumps({"ecs_celery_worker_secrets": {"MAIL_PASSWORD": f"{secret['ARN']}:password::"}})
    arguments = ("site.yml", "-i", "inventories/dev", "-e", "image_tag=6", "-e", given)
    console.playbook(*arguments)
    assert console.playbook(*arguments).changed == 0
    newest = secrets.put_secret_value(SecretId=secret["ARN"], SecretString='{"password": "second"}')["VersionId"]
    check = console.playbook(*arguments, "--check")
    run = console.playbook(*arguments)
    assert [(change["resource"], change["path"], change["after"]) for change in run.plan["changes"]] == [
        (
            f"service {WORKER}",
            "task_definition.containers.celery-worker.docker_labels.secret-version/MAIL_PASSWORD",
            newest,
        )
    ]
    assert steps.unforetold(check.step, run.step) == []
    assert console.playbook(*arguments).changed == 0
