"""The summary at the end of a run: what is known is said, what is not known is said to be so, and no secret ever."""

from __future__ import annotations

import json
import re

import pytest
import yaml

TAGS = {"Project": "plan", "Environment": "test"}


@pytest.fixture
def play(console, tmp_path):
    """play(tasks, *arguments) -> Run of a playbook with these tasks."""

    def run(tasks: list[dict], *arguments: str, **options):
        file = tmp_path / "playbook.yml"
        file.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        return console.playbook(str(file), "-i", "localhost,", "-c", "local", *arguments, **options)

    return run


def log_groups(*names: str, **options) -> dict:
    return {
        "nexus_learn.aws.cloudwatch_log_groups": {
            "region": "us-east-1",
            "log_groups": [{"name": name, "retention_in_days": options.pop("days", 30)} for name in names],
            "tags": TAGS,
        },
        **options,
    }


def said(run) -> list[str]:
    """The lines after the recap."""
    return run.output[run.output.index("PLAY RECAP") :].splitlines()[3:]


def test_nothing_is_said_of_a_run_without_our_modules(play):
    run = play([{"ansible.builtin.debug": {"msg": "x"}}])
    assert run.plan is None
    assert said(run) == []


def test_check_run_and_check_again(play):
    tasks = [
        log_groups("/plan/a", "/plan/b"),
        log_groups("/plan/{{ item }}", loop=["c", "d"]),
        log_groups("/plan/unwanted", when=False),
    ]
    foretold = play(tasks, "--check")
    assert said(foretold)[:2] == [
        "Plan: 4 to create, 0 to change, 0 to replace, 0 to delete, 0 unchanged",
        "  + log group (4): /plan/a, /plan/b, /plan/c, /plan/d",
    ]
    done = play(tasks)
    assert said(done)[0] == "Done: 4 created, 0 changed, 0 replaced, 0 deleted, 0 unchanged"
    assert done.plan["changes"] == foretold.plan["changes"]
    assert (foretold.plan["check_mode"], done.plan["check_mode"]) == (True, False)
    assert [item["task"] for item in done.plan["skipped"]] == ["nexus_learn.aws.cloudwatch_log_groups"]
    again = play(tasks, "--check")
    assert again.plan["counts"] == {"create": 0, "update": 0, "replace": 0, "delete": 0, "unchanged": 4}
    assert again.plan["cost"]["before"] == again.plan["cost"]["after"] == done.plan["cost"]["after"]
    assert again.plan["started"] <= again.plan["finished"]


def test_a_run_that_fails(console, play):
    console.sandbox.client("logs").create_log_group(logGroupName="/plan/theirs", tags={"Project": "other"})
    service = {
        "cluster": "none",
        "region": "us-east-1",
        "services": [
            {
                "name": "orphan",
                "desired_count": 1,
                "subnets": ["subnet-1"],
                "task_definition": {
                    "family": "orphan",
                    "cpu": 256,
                    "memory": 512,
                    "containers": [{"name": "c", "image": "i"}],
                },
            }
        ],
    }
    tasks = [
        log_groups("/plan/e"),
        log_groups("/plan/hidden", no_log=True),
        {"block": [log_groups("/plan/theirs", name="Theirs")], "rescue": [{"ansible.builtin.debug": {"msg": "x"}}]},
        {"name": "Deploy", "nexus_learn.aws.ecs_service": service},
        log_groups("/plan/never"),
    ]
    run = play(tasks, succeeds=False)
    lines = said(run)
    assert lines[0] == "Done before the failure: 1 created, 0 changed, 0 replaced, 0 deleted, 0 unchanged"
    assert "Refused: Theirs (rescued or ignored; the run went on)" in lines
    assert "Failed: Deploy" in lines
    assert "      + service orphan" in lines
    assert "Stopped there: what comes after it was not looked at, and its state is not known here." in lines
    assert [item["task"] for item in run.plan["unknown"]] == ["nexus_learn.aws.cloudwatch_log_groups"]
    assert [(item["refused"], item["went_on"]) for item in run.plan["failures"]] == [(True, True), (False, False)]
    assert [item["resource"] for item in run.plan["failures"][1]["planned"]] == ["service orphan"]
    assert not run.plan["complete"]
    assert "never" not in "\n".join(lines)
    # to delete what others own is no failure
    delete = log_groups("/plan/theirs")
    delete["nexus_learn.aws.cloudwatch_log_groups"]["state"] = "absent"
    run = play([delete])
    theirs = "! log group /plan/theirs is left alone: it belongs to somebody else: it carries Project=other"
    assert said(run)[1:] == [theirs]
    assert run.plan["warnings"] == [theirs[2:]]


def test_the_file_never_belongs_to_an_earlier_run(console, play):
    console.plan_file.write_text("{}")
    run = play([{"ansible.builtin.debug": {"msg": "x"}}])
    assert run.plan is None
    run = play([log_groups("/plan/a")], env={"NEXUS_PLAN_FILE": "/nowhere/plan.json"})
    assert "The plan was not written to /nowhere/plan.json: No such file or directory" in run.text
    assert list(console.plan_file.parent.glob(".*")) == [], "no half-written file is left"


def test_a_token_is_in_no_output_when_tls_and_auth_are_turned_on(console, play):
    client = console.sandbox.client
    subnets = [subnet["SubnetId"] for subnet in client("ec2").describe_subnets()["Subnets"]][:2]
    group = {
        "region": "us-east-1",
        "name": "plan-redis",
        "node_type": "cache.t3.micro",
        "engine_version": "7.1",
        "subnet_group": {"name": "plan-redis", "subnet_ids": subnets},
        "transit_encryption_enabled": False,
        "tags": TAGS,
    }
    tasks = [{"name": "Redis", "nexus_learn.aws.elasticache_replication_group": group}]
    play(tasks)
    group |= {"transit_encryption_enabled": True, "auth_token_secret": {"name": "plan/redis"}}
    run = play(tasks, "-vvvv", "--diff")
    secret = json.loads(client("secretsmanager").get_secret_value(SecretId="plan/redis")["SecretString"])
    assert secret["auth_token"] not in run.output + json.dumps(run.plan)
    lines = said(run)
    assert lines[0] == "Done: 1 created, 1 changed, 0 replaced, 0 deleted, 1 unchanged"
    assert "      auth_token: (none) -> (hidden, new)" in lines
    assert [line for line in lines if re.search("! disruptive: .*clients that do not speak TLS are refused", line)]
