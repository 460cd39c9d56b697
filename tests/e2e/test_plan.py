"""The plan before a run, and the summary at its end: what is known is said, what is not is said to be so; no secret."""

from __future__ import annotations

import json
import re

import pytest
import yaml

TAGS = {"Project": "plan", "Environment": "test"}


@pytest.fixture
def play(console, tmp_path):
    """play(tasks, *arguments) -> Run of a playbook with these tasks."""

    def run(tasks: list[dict], *arguments: str, post_tasks: tuple[dict, ...] = (), **options):
        file = tmp_path / "playbook.yml"
        sections = {"tasks": tasks, "post_tasks": list(post_tasks)}
        file.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, **sections}]))
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


INVENTORY = ("-e", "@inventories/dev/group_vars/all/main.yml")
PLAN_FIRST = [
    {"nexus_learn.aws.plan": {"region": "us-east-1"}, "register": "foreseen"},
    {"ansible.builtin.meta": "end_play", "when": "foreseen.unchanged"},
]
OTHER = {"ansible.builtin.command": "true"}


@pytest.mark.parametrize(
    ("more", "post_tasks", "ends"),
    [
        ([], (), True),
        ([{**OTHER, "when": False}], (), True),
        ([{**OTHER, "tags": "never"}], (), True),
        ([{"ansible.builtin.debug": {"msg": "x"}}], (), True),
        ([{"ansible.builtin.assert": {"that": ["name_prefix == 'nexus-learn'", "aws_region | length > 0"]}}], (), True),
        ([{"ansible.builtin.assert": {"that": "name_prefix == 'other'"}, "ignore_errors": True}], (), False),
        ([OTHER], (), False),
        ([{"block": [{"ansible.builtin.debug": {"msg": "x"}}], "always": [OTHER]}], (), False),
        ([], (OTHER,), False),
        ([log_groups("/plan/first-{{ item }}", loop=["a"])], (), False),
        ([log_groups("/plan/first-b")], (), False),
    ],
)
def test_a_run_ends_after_its_plan_if_all_that_follows_is_known_to_change_nothing(play, more, post_tasks, ends):
    play([log_groups("/plan/first")])
    run = play([*PLAN_FIRST, log_groups("/plan/first"), *more], *INVENTORY, "--check", post_tasks=post_tasks)
    assert ("TASK [nexus_learn.aws.cloudwatch_log_groups]" not in run.output) == ends


def test_what_a_later_step_refuses_stops_the_run_before_the_first(console, play):
    logs = console.sandbox.client("logs")
    logs.create_log_group(logGroupName="/plan/another")
    steps = [log_groups("/plan/earlier"), log_groups("/plan/another", name="Take what is not ours")]
    run = play([*PLAN_FIRST, *steps], *INVENTORY, succeeds=False)
    assert "Take what is not ours: log group /plan/another exists and belongs to somebody else" in run.text
    assert logs.describe_log_groups(logGroupNamePrefix="/plan/earlier")["logGroups"] == []


def test_a_step_sees_what_those_before_it_are_going_to_register(play):
    first = log_groups("/plan/chain", register="made")
    second = log_groups("/plan{{ made.log_groups['/plan/chain'].arn.split('/plan')[1] }}-more")
    run = play(
        [PLAN_FIRST[0], first, second, {"ansible.builtin.debug": {"msg": "{{ foreseen }}"}}], *INVENTORY, "--check"
    )
    assert run.output.count("log group /plan/chain-more") >= 2  # by the plan, and by the task
