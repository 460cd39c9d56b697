"""What people and programs are told at the end of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import (
    ec2_security_groups,
    ecs_service,
    elasticache_replication_group,
    elbv2_load_balancer,
    engine,
    plan_report,
    vpc,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prices import redis, target, tasks

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WHERE = {"task": "Deploy", "role": "worker", "host": "localhost"}


def change(resource, action="update", path="", before=None, after=None, impact="in-place", note=""):
    fields = {"resource": resource, "action": action, "path": path, "before": before, "after": after}
    return {**fields, "impact": impact, "note": note}


def ok(*changes, resources=(), check_mode=True, **result):
    result = {"changes": list(changes), "resources": list(resources), **result}
    return plan_report.entry(**WHERE, check_mode=check_mode, outcome=plan_report.OK, result=result)


def failed(msg, check_mode=False, **result):
    result = {"failed": True, "msg": msg, **result}
    return plan_report.entry(**WHERE, check_mode=check_mode, outcome=plan_report.FAILED, result=result)


def summary(*entries, **fields):
    return plan_report.summary(entries, playbook="site.yml", started=AT, finished=AT, **fields)


def text(*entries, **fields):
    return [line for _, line in plan_report.text(summary(*entries, **fields))]


IMAGE = "task_definition.containers.celery-worker.image"
ROLLING, STOPS = "new tasks replace the running ones", "running tasks stop first: none runs for about a minute"


def test_the_text_of_a_changed_worker():
    size = {"cpu": 1024, "memory": 2048}
    billed = {
        "region": "us-east-1",
        "before": [tasks(2, **size), target(1, 5)],
        "after": [tasks(2, cpu=2048, memory=4096), target(1, 7)],
    }
    queues = ["celery", "worker", "--queues=langgraph,embeddings"]
    entries = [
        ok(change("log group /ecs/new", "create", after={"retention_in_days": 30}), resources=["log group /ecs/new"]),
        ok(
            change("service a-worker", path="task_definition.cpu", before="1024", after="2048", note=ROLLING),
            change(
                "service a-worker", path="command", before=queues, after=[*queues[:2], "--queues=all"], note=ROLLING
            ),
            change("service a-worker", path=IMAGE, before="worker:1", after="worker:2", note=ROLLING),
            change("service a-beat", path="image", before="x:1", after="x:2", impact="disruptive", note=STOPS),
            resources=["service a-worker", "service a-beat", "service a-backend"],
            billed=billed,
            warnings=["NAT gateway x is left alone: it belongs to somebody else"],
        ),
        ok(change("scaling policy old of a-worker", "delete", before={"target_value": 70})),
    ]
    assert text(*entries) == [
        "Plan: 1 to create, 2 to change, 0 to replace, 1 to delete, 1 unchanged",
        "  + log group /ecs/new",
        "  ~ service a-worker",
        "      task_definition.cpu: 1024 -> 2048",
        "      command: - --queues=langgraph,embeddings, + --queues=all",
        f"      {IMAGE}: worker:1 -> worker:2",
        "      (new tasks replace the running ones)",
        "  ~ service a-beat",
        "      image: x:1 -> x:2",
        "      ! disruptive: running tasks stop first: none runs for about a minute",
        "  - scaling policy old of a-worker",
        "! NAT gateway x is left alone: it belongs to somebody else",
        "Cost a month in USD, list prices of 2026-10, us-east-1 (min / typical / max), of what this run looked at:",
        "    now     36.44 / 72.48 / 180.60",
        "    then    72.48 / 144.56 / 504.96   (+36.04 / +72.08 / +324.36)",
        "      service w: 36.04 / 72.08 / 180.20 -> 72.08 / 144.16 / 504.56 "
        "(1 to 7 tasks, usually 2, of 2 vCPU 4 GB x86)",
    ]


def test_fifty_services_that_change_alike_are_one_entry():
    names = [f"service a-queue{number}-service" for number in range(50)]
    lines = text(ok(*(change(name, path=IMAGE, before="w:1", after="w:2", note=ROLLING) for name in names)))
    assert len(lines) == 4
    assert lines[1].startswith("  ~ service (50): a-queue0-service, a-queue1-service, ")
    assert lines[1].endswith(" and 42 more")
    # one that differs stands alone
    changes = [change(name, path=IMAGE, before="w:1", after="w:2") for name in names[:3]]
    changes.append(change(names[1], path="cpu", before="256", after="512"))
    assert text(ok(*changes))[1:] == [
        "  ~ service (2): a-queue0-service, a-queue2-service",
        f"      {IMAGE}: w:1 -> w:2",
        "  ~ service a-queue1-service",
        f"      {IMAGE}: w:1 -> w:2",
        "      cpu: 256 -> 512",
    ]


def test_a_run_without_changes():
    billed = {"region": "us-east-1", "before": [redis()], "after": [redis()]}
    assert text(ok(resources=["a b-1", "a b-2"], billed=billed, check_mode=False)) == [
        "Done: 0 created, 0 changed, 0 replaced, 0 deleted, 2 unchanged",
        "Cost a month in USD, list prices of 2026-10, us-east-1 (min / typical / max), of what this run looked at:",
        "    12.41, unchanged",
    ]


def test_a_failure_says_what_is_known_and_what_is_not():
    done = ok(change("log group /a", "create"), resources=["log group /a"], check_mode=False)
    planned = [change("service b-1", path="cpu", before="256", after="512")]
    report = summary(done, failed("It rolled back.\nOut of memory.", planned=planned), stopped=["localhost"])
    assert [line for _, line in plan_report.text(report)] == [
        "Done before the failure: 1 created, 0 changed, 0 replaced, 0 deleted, 0 unchanged",
        "  + log group /a",
        "Failed: worker : Deploy",
        "    It rolled back.",
        "    Out of memory.",
        "    These changes were under way; which of them were made is not known. The next run will see:",
        "      ~ service b-1",
        "          cpu: 256 -> 512",
        "Stopped there: what comes after it was not looked at, and its state is not known here.",
    ]
    assert not report["complete"]
    assert report["failures"][0]["planned"] == planned
    assert report["counts"]["update"] == 0, "what was under way is not counted as done"


def test_a_version_that_did_not_come_up_is_neither_changed_nor_paid():
    size = {"cpu": 1024, "memory": 2048}
    after = [tasks(2, cpu=2048, memory=4096)]
    label = after[0]["resource"]
    begun = ok(
        change(label, path="cpu", before="1024", after="2048"),
        change("service b", path="cpu", before="256", after="512"),
        resources=[label, "service b", "service c"],
        billed={"region": "us-east-1", "before": [tasks(2, **size)], "after": after},
        check_mode=False,
    )
    report = summary(begun, failed("It rolled back.", planned=[], undone=[label]), stopped=["localhost"])
    assert [item["resource"] for item in report["changes"]] == ["service b"]
    assert report["unchanged"] == ["service c"]
    assert [item["resource"] for item in report["failures"][0]["planned"]] == [label]
    assert report["cost"]["after"] == report["cost"]["before"]


def test_what_was_foreseen_and_not_reached():
    later = {"task": "Scale", "role": "autoscaling"}
    foreseen = [
        ok(change("service b-1", path="cpu", before="256", after="512")),
        {**ok(change("scalable target b-1", path="max", before=1, after=2)), **later},
    ]
    report = summary(failed("no"), foreseen=foreseen, stopped=["localhost"])
    assert [item["resource"] for item in report["not_reached"]] == ["scalable target b-1"]
    assert [line for _, line in plan_report.text(report)][-3:] == [
        "Foreseen before the run, and not reached:",
        "  ~ scalable target b-1",
        "      max: 1 -> 2",
    ]
    assert summary(ok(), foreseen=foreseen)["not_reached"] == []


def test_a_refusal_that_was_rescued_stops_nothing():
    report = summary(failed("It belongs to somebody else.", refused=True), ok(resources=["a b-1"], check_mode=False))
    assert report["complete"]
    assert report["failures"][0] == {
        **WHERE,
        "msg": "It belongs to somebody else.",
        "refused": True,
        "error_code": None,
        "went_on": True,
        "planned": None,
    }
    assert "Refused: worker : Deploy (rescued or ignored; the run went on)" in text(failed("x", refused=True))


def test_of_two_failures_the_last_one_stopped_the_run():
    report = summary(failed("one"), failed("two"), stopped=["localhost"])
    assert [failure["went_on"] for failure in report["failures"]] == [True, False]


def test_a_result_that_is_hidden_is_not_taken_for_no_change():
    hidden = plan_report.entry(**WHERE, check_mode=False, outcome=plan_report.OK, result={"censored": "..."})
    report = summary(hidden)
    assert report["unknown"] == [WHERE]
    assert any("not known here" in line for _, line in plan_report.text(report))


def test_a_run_that_only_looks_something_up_is_no_news():
    assert not plan_report.has_news(summary(ok()))
    assert plan_report.has_news(summary(ok(resources=["service a-1"])))
    assert plan_report.has_news(summary(failed("x")))
    assert plan_report.has_news(summary(ok(warnings=["a-1 is left alone: because"])))


def test_the_same_name_on_two_hosts_is_two_resources():
    one = ok(change("service a-1", path="x", before=1, after=2), resources=["service a-1"])
    other = {**ok(change("service a-1", path="x", before=1, after=2), resources=["service a-1"]), "host": "eu"}
    report = summary(one, other)
    assert report["counts"]["update"] == 2
    assert [line for _, line in plan_report.text(report)][1::2] == [
        "  ~ service a-1 on localhost",
        "  ~ service a-1 on eu",
    ]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (None, "x", ["p: (none) -> x"]),
        ("", "x", ['p: "" -> x']),
        (True, False, ["p: true -> false"]),
        (["a", "b"], ["b", "c"], ["p: - a, + c"]),
        (["a", "b"], ["b", "a"], ["p: the same in another order"]),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}, ["p.a.b: 1 -> 2"]),
        ({"a": 1}, {"b": 1}, ["p.a: 1 -> (none)", "p.b: (none) -> 1"]),
        ("a\nb\nc", "a\nx\nc", ["p:", "  @@ -1,3 +1,3 @@", "   a", "  -b", "  +x", "   c"]),
        (
            "1" * 12 + ".dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker:1.0.0-" + "a" * 40,
            "1" * 12 + ".dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker:1.0.1-" + "a" * 40,
            [f"p: .../nexus-learn-worker:1.0.0-{'a' * 40} -> .../nexus-learn-worker:1.0.1-{'a' * 40}"],
        ),
    ],
)
def test_a_field_shows_what_differs(before, after, lines):
    assert list(plan_report._field("p", before, after)) == lines


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text("ab\n", max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_leaves=6,
)
labels = st.sampled_from([f"{kind} {name}" for kind in ("service", "log group") for name in ("a-1", "b-2", "c-3")])
changes = st.builds(
    change,
    labels,
    st.sampled_from(["create", "update", "delete"]),
    st.sampled_from(["p", "q.r"]),
    values,
    values,
    st.sampled_from([engine.IN_PLACE, engine.DISRUPTIVE, engine.REPLACEMENT]),
    st.sampled_from(["", "some seconds"]),
)


@settings(deadline=None)
@given(st.lists(st.builds(lambda some, managed: ok(*some, resources=managed), st.lists(changes), st.lists(labels))))
def test_every_resource_is_counted_once_and_shown(entries):
    report = summary(*entries)
    changed = {item["resource"] for item in report["changes"]}
    managed = {label for item in entries for label in item["result"]["resources"]}
    assert sum(report["counts"].values()) == len(changed | managed)
    assert set(report["unchanged"]) == managed - changed
    shown = "\n".join(line for _, line in plan_report.text(report))
    for label in changed:
        assert label.split()[-1] in shown
    for item in report["changes"]:
        if item["impact"] != engine.IN_PLACE and item["note"]:
            assert "! " in shown
    assert json.loads(json.dumps(report)) == report


def billed(before, after, region="us-east-1"):
    return {"region": region, "before": before, "after": after}


def test_cost_takes_the_first_before_and_the_last_after():
    """As when destroy.yml first looks at what it then deletes."""
    nat = {"kind": "nat_gateway", "resource": "n"}
    cost = plan_report.cost([billed([nat], [nat]), billed([nat], [])])
    assert cost["before"]["typical"] > 0
    assert cost["after"] == {"min": 0, "typical": 0, "max": 0}
    assert cost["delta"]["max"] == -cost["before"]["max"]
    assert plan_report.cost([billed([], [])]) is None


def test_two_regions_are_two_stacks():
    cost = plan_report.cost([billed([], [redis()]), billed([], [redis()], "eu-west-1")])
    assert cost["after"]["typical"] == pytest.approx(2 * 12.41)
    assert cost["borrowed"] == ["eu-west-1"]
    assert "us-east-1 where eu-west-1 has no price here" in plan_report.cost_lines(cost)[0][1]


def test_the_cost_line_by_line():
    lines = [line for _, line in plan_report.cost_lines(plan_report.cost([billed([redis()], [redis(nodes=2)])]))]
    assert lines[1].split() == ["deployed", "now", "as", "the", "inventory", "asks"]
    assert lines[2].split() == ["replication", "group", "r", "12.41", "24.82", "2", "x", "cache.t3.micro", "(redis)"]
    assert lines[3].split() == ["together", "12.41", "24.82", "+12.41"]
    assert plan_report.cost_lines(None) == [("head", "Nothing that costs by the month was looked at.")]


def test_a_disruptive_change_says_for_how_long():
    there = {"num_nodes": 2}
    notes = [
        note
        for mode in ("required", "preferred", None)
        for apply_immediately in (True, False)
        for wanted in ({"num_nodes": 1}, {"num_nodes": 3})
        for _, note in elasticache_replication_group._impacts(
            {"apply_immediately": apply_immediately}, there, {**wanted, "transit_encryption_mode": mode}
        ).values()
    ]
    notes += [note for _, note in elbv2_load_balancer._IMPACTS.values()]
    percents = {"minimum_healthy_percent": 0, "maximum_percent": 100}
    notes += [note for _, note in ecs_service._impacts(percents).values()]
    notes += list(vpc._LOST.values())
    for path, before, after in (
        ("routes.0.0.0.0/0", "nat a", None),
        ("routes.0.0.0.0/0", "nat a", "nat b"),
        ("route_table", "a", "b"),
        ("enable_dns_support", True, False),
    ):
        marked = vpc._marked(engine.Change("x", "update", path, before, after))
        assert marked.impact == engine.DISRUPTIVE
        notes.append(marked.note)
    notes.append(ec2_security_groups._marked(engine.Change("x", "update", "ingress.y", "", None)).note)
    how_long = ("second", "minute", "at once", "from then on", "for good", "moment", "until", "cannot be had back")
    assert [note for note in notes if not any(words in note for words in how_long)] == []


def test_what_an_aggregate_manages_is_what_it_would_create():
    """Of an empty account: every resource that the plan creates, and no other."""
    aws = SimpleNamespace(account_id="123456789012", region="us-east-1", partition="aws")
    params = {
        "state": "present",
        "cluster": "c",
        "tags": None,
        "services": [],
        "vpc_id": None,
        "vpc_tags": None,
        "name": "n",
        "cidr_block": "10.0.0.0/16",
        "nat_gateway": "per_zone",
        "vpc_endpoints": ["s3", "logs"],
        "vpc_endpoint_policies": {},
        "flow_logs": None,
        "map_public_ip_on_launch": True,
        "enable_dns_support": True,
        "enable_dns_hostnames": True,
        "wait_timeout": 1,
        **{f"{tier}_subnets": None for tier in vpc.TIERS},
        **{f"{tier}_subnet_{what}": None for tier in vpc.TIERS for what in ("ids", "tags")},
    }
    current = {"found": {}, "ids": {}, "zones": ["us-east-1a", "us-east-1b"], "security_groups": {}}
    # the options that the security groups of the endpoints leave out
    planned = [item.resource for item in vpc.plan(aws, params, current)]
    assert sorted(planned) == sorted(vpc.resources(aws, params, current))
    assert len(vpc.billed(aws, params, current, True)) == 3
    assert vpc.billed(aws, params, current, False) == []
