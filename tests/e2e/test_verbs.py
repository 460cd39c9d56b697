"""The verbs of a service's life, on one deployed dev stack. In this order."""

from __future__ import annotations

import json
import re
import stat
import time

import pytest
import steps

DEV = ("-i", "inventories/dev")
SITE = ("site.yml", *DEV)
WORKER = ("-e", "service=celery-worker")
BEAT = ("-e", "service=celery-beat")
CLUSTER = "nexus-learn-cluster"


@pytest.fixture(scope="module")
def deployed(console):
    console.playbook(*SITE)
    return console


def service(console, name="celery-worker") -> dict:
    names = [f"nexus-learn-{name}-service"]
    return console.sandbox.client("ecs").describe_services(cluster=CLUSTER, services=names)["services"][0]


def verb(console, name, *arguments, **more):
    return console.playbook(f"playbooks/{name}.yml", *DEV, *arguments, **more)


def foretold(console, name, *arguments, shows=""):
    """A check, which writes nothing, and the run that does what it said and shows ``shows``."""
    check = verb(console, name, *arguments, "--check")
    assert steps.writes(check.step) == []
    run = verb(console, name, *arguments)
    assert run.changed == check.changed == 1
    assert steps.unforetold(check.step, run.step) == []
    assert shows in run.text


def test_status_tells_how_services_and_queues_are(deployed):
    run = verb(deployed, "status")
    assert steps.writes(run.step) == []
    assert "celery-worker: 2 of 2 running; scaler 1 to 5" in run.output
    assert "celery-beat: 1 of 1 running; no scaler" in run.output
    assert "(nexus-learn-worker:latest) COMPLETED" in run.output
    # beat may have sent something just now
    assert re.search(r"queues: langgraph 0, embeddings \d; \d taken and not acknowledged", run.output)
    document = verb(deployed, "status", *WORKER, "-e", "output_format=json").output
    status = json.JSONDecoder().raw_decode(plain(document))[0]
    assert [one["name"] for one in status["services"]] == ["celery-worker"]
    assert (sorted(status["queues"]), type(status["unacked"])) == (["embeddings", "langgraph"], int)


def plain(output: str) -> str:
    """The text of a message, from its first brace on, without the indentation of the callback's YAML."""
    return output[output.index("{\n") :]


def test_what_cannot_be_read_is_unknown_and_who_is_not_there_is_told_who_is(deployed):
    ecs = deployed.sandbox.client("ecs")
    ecs.update_service(cluster=CLUSTER, service="nexus-learn-backend-service", desiredCount=0)
    deadline = time.monotonic() + 120
    while service(deployed, "backend")["runningCount"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run = verb(deployed, "status", *WORKER)
    ecs.update_service(cluster=CLUSTER, service="nexus-learn-backend-service", desiredCount=2)
    assert "queues: unknown (Status code was 503" in run.text
    run = verb(deployed, "status", "-e", "service=worker", succeeds=False)
    assert (
        "There is no service worker in nexus-learn-cluster; there are: backend, celery-beat, celery-worker." in run.text
    )


@pytest.mark.parametrize("name", ["status", "logs", "verify", "outputs", "cost", "journal"])
def test_what_only_reads_does_so_in_a_check_too(deployed, name):
    run = verb(deployed, name, "--check")
    assert (steps.writes(run.step), run.changed) == ([], 0)


def test_logs_of_all_services_in_one_order(deployed):
    run = verb(deployed, "logs", "-e", "since=1h", "-e", "lines=1000")
    assert steps.writes(run.step) == []
    lines = re.findall(r"^ +(\S+Z) ([a-z-]+)/[0-9a-f]{8} ", run.output, re.MULTILINE)
    assert {"backend", "celery-beat", "celery-worker"} <= {name for _, name in lines}
    assert [time for time, _ in lines] == sorted(time for time, _ in lines)


def test_run_shows_what_the_command_writes(deployed):
    ping = ("-e", json.dumps({"command": ["celery", "-A", "config.celery", "inspect", "ping"]}))
    foretold(deployed, "run", *ping, shows="nodes online.")
    assert "word by word" in verb(deployed, "run", "-e", "command=ls", succeeds=False).text


def test_scale_within_the_limits_survives_the_next_site(deployed):
    foretold(deployed, "scale", *WORKER, "-e", "count=3", shows="3 of 3 running")
    assert deployed.playbook(*SITE).changed == 0


def test_scale_beyond_the_limits_names_the_variable_to_change(deployed):
    run = verb(deployed, "scale", *WORKER, "-e", "count=0", "-e", "move_limits=true")
    assert "0 to 5 now. Set celery_min_count in the inventory, or the next site.yml moves them back." in run.text
    assert deployed.playbook(*SITE, "--tags", "autoscaling", "-e", "celery_min_count=0").changed == 0


def test_beat_stays_alone(deployed):
    run = verb(deployed, "scale", *BEAT, "-e", "count=2", succeeds=False)
    assert "allowed for celery-beat: 0 or 1" in run.text
    assert service(deployed, "celery-beat")["desiredCount"] == 1


def test_restart_is_followed_and_stands_in_the_journal(deployed):
    (before,) = service(deployed, "celery-beat")["deployments"]
    foretold(deployed, "restart", *BEAT)
    (after,) = service(deployed, "celery-beat")["deployments"]
    assert (after["rolloutState"], after["taskDefinition"]) == ("COMPLETED", before["taskDefinition"])
    assert after["id"] != before["id"]
    run = deployed.playbook("playbooks/journal.yml", *DEV, "-e", "last=1")
    assert "ran restart.yml (1 changes: service nexus-learn-celery-beat-service)" in run.text


def test_rollback_goes_back_and_says_what_the_inventory_has_to_say(deployed):
    site, newer = (*SITE, "--tags", "ecs_celery_beat"), ("-e", "app_image=nexus-learn-worker:2")
    deployed.playbook(*site, *newer)
    assert service(deployed, "celery-beat")["taskDefinition"].endswith(":2")
    foretold(deployed, "rollback", *BEAT, *newer, shows="it would have to be nexus-learn-worker:latest.")
    assert service(deployed, "celery-beat")["taskDefinition"].endswith(":1")
    for to, revision in (("2", ":2"), ("latest", ":1")):  # a revision, and the tag of an image
        foretold(deployed, "rollback", *BEAT, "-e", f"to={to}")
        assert service(deployed, "celery-beat")["taskDefinition"].endswith(revision)
    assert deployed.playbook(*site).changed == 0


def test_exec_checks_what_it_needs_and_shows_the_command(deployed, tmp_path):
    beat = (*BEAT, "-e", json.dumps({"command": "celery -A config.celery status"}))
    assert "session-manager-plugin is not on PATH" in verb(deployed, "exec", *beat, succeeds=False).text
    plugin = tmp_path / "session-manager-plugin"
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    path = {"PATH": f"{tmp_path}:{deployed.env['PATH']}"}
    run = verb(deployed, "exec", *beat, succeeds=False, env=path)
    assert "Set ecs_celery_beat_enable_execute_command to true" in run.text
    deployed.playbook(*SITE, "--tags", "ecs_celery_beat", "-e", '{"ecs_celery_beat_enable_execute_command": true}')
    run = verb(deployed, "exec", *beat, env=path)
    (task,) = deployed.sandbox.client("ecs").list_tasks(cluster=CLUSTER, serviceName="nexus-learn-celery-beat-service")[
        "taskArns"
    ]
    assert (
        f"aws ecs execute-command --region us-east-1 --cluster {CLUSTER} --task {task.rpartition('/')[2]} "
        "--container celery-beat --interactive --command 'celery -A config.celery status'"
    ) in run.text
    role = deployed.sandbox.client("iam").get_role_policy(
        RoleName="nexus-learn-celery-beat-task", PolicyName="execute-command"
    )["PolicyDocument"]
    assert "ssmmessages:OpenDataChannel" in role["Statement"][0]["Action"]
