"""Two people at once: real runs of ansible-playbook against one sandbox. In this order."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from email.utils import parsedate_to_datetime

import pytest
import steps
from conftest import ROOT

LOCK = ("tests/e2e/lock.yml", "-i", "inventories/dev")
BUCKET = "nexus-learn-deployment-123456789012-us-east-1"
JOURNAL = ("playbooks/journal.yml", "-i", "inventories/dev")
UNLOCK = ("playbooks/unlock.yml", "-i", "inventories/dev")


class Holder:
    """A run that waits in the middle, with the lock in its hands; ``.finish()`` lets it go on."""

    def __init__(self, console, tmp_path, **variables):
        self.go = tmp_path / "go"
        values = {"first": "enabled", "second": 7, "go": str(self.go), **variables}
        self.process = subprocess.Popen(
            ["ansible-playbook", *LOCK, "-e", json.dumps(values)],
            cwd=ROOT,
            env=console.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while not (lock(console) and insights(console) == values["first"]):
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.1)

    def finish(self) -> str:
        self.go.touch()
        return self.process.communicate(timeout=120)[0]


@pytest.fixture
def hold(console, tmp_path):
    """hold(**variables) -> a Holder, which ends with the test at the latest."""
    started: list[Holder] = []

    def start(**variables) -> Holder:
        started.append(Holder(console, tmp_path, **variables))
        return started[-1]

    yield start
    for one in started:
        one.go.touch()
        one.process.communicate(timeout=120)


def changed(run) -> list[str]:
    """The tasks that changed something; one with a loop says so for each item."""
    return list(dict.fromkeys(run.changed_tasks))


def lock(console) -> dict | None:
    s3 = console.sandbox.client("s3")
    try:
        return json.loads(s3.get_object(Bucket=BUCKET, Key="lock.json")["Body"].read())
    except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
        return None


def now(s3):
    """By S3's clock."""
    return parsedate_to_datetime(s3.head_bucket(Bucket=BUCKET)["ResponseMetadata"]["HTTPHeaders"]["date"])


def journal(console) -> list[dict]:
    s3 = console.sandbox.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="journal/").get("Contents", [])]
    return [json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]


def values(first: str, second: int) -> tuple[str, str]:
    return ("-e", json.dumps({"first": first, "second": second}))


def insights(console) -> str:
    ecs = console.sandbox.client("ecs")
    found = ecs.describe_clusters(clusters=["lock-test"], include=["SETTINGS"])["clusters"]
    return found[0]["settings"][0]["value"] if found else ""


def test_two_at_once(console, hold):
    one = hold()
    held = lock(console)
    assert held["playbook"] == "tests/e2e/lock.yml"
    # a check needs no lock, nor does who would change nothing
    check = console.playbook(*LOCK, *values("disabled", 7), "--check")
    assert changed(check) == ["First", "Second"]
    assert steps.writes(check.step) == []
    refused = console.playbook(*LOCK, *values("disabled", 7), succeeds=False)
    assert f"This stack is being changed by {held['user']} ({held['arn']}) since {held['started']}" in refused.text
    assert f"playbooks/unlock.yml -i inventories/dev -e lock_id={held['id']}" in refused.text
    assert steps.writes(refused.step) == []
    assert insights(console) == "enabled"
    assert "failed=0" in one.finish()
    assert lock(console) is None
    run = console.playbook(*LOCK, *values("disabled", 7))
    assert changed(run) == ["First"], "the other one's work is there, and is not done again"
    first, second = journal(console)
    assert (first["id"], first["outcome"], first["inventory"]) == (held["id"], "ok", ["inventories/dev"])
    assert first["extra_vars"] == ["first", "go", "second"]
    assert [change["action"] for change in first["changes"]] == ["create"] * 4
    assert [(c["resource"], c["path"], c["before"], c["after"]) for c in second["changes"]] == [
        ("cluster lock-test", "container_insights", "enabled", "disabled")
    ]


def test_who_changes_nothing_makes_no_write_call(console):
    before = len(journal(console))
    run = console.playbook(*LOCK, *values("disabled", 7))
    assert run.changed == 0
    assert steps.writes(run.step) == []
    assert not [name for name in run.step["operations"] if "lock.json" in name]
    assert len(journal(console)) == before


def test_one_that_is_killed_is_taken_over_at_once(console, hold):
    one = hold()
    held = lock(console)
    one.process.kill()
    one.finish()  # its worker, which waits for the file, ends
    run = console.playbook(*LOCK, *values("enabled", 14))
    assert changed(run) == ["Second"]
    assert f"Took over the lock of a run that has ended (its process is gone): {held['user']}" in run.text
    assert lock(console) is None


def test_one_whose_lock_is_broken_stops_before_its_next_change(console, hold):
    one = hold(first="disabled", second=30)
    held = lock(console)
    shown = console.playbook(*UNLOCK)
    assert f"id: {held['id']}" in shown.output
    console.playbook(*UNLOCK, "-e", "lock_id=another", succeeds=False)
    assert lock(console) == held
    assert console.playbook(*UNLOCK, "-e", f"lock_id={held['id']}").changed == 1
    assert lock(console) is None
    output = " ".join(one.finish().split())
    assert "Somebody broke this run's lock" in output
    groups = console.sandbox.client("logs").describe_log_groups(logGroupNamePrefix="/lock")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [14, 14]
    broken, stopped = journal(console)[-2:]
    assert (broken["outcome"], broken["id"]) == ("lock broken", held["id"])
    assert (stopped["outcome"], stopped["lock_broken"]) == ("failed", True)
    assert "Somebody broke this run's lock" in stopped["message"]


def test_ctrl_c_gives_it_back(console, hold):
    one = hold(first="enabled")
    one.process.send_signal(signal.SIGINT)
    one.process.communicate(timeout=120)
    assert lock(console) is None
    assert journal(console)[-1]["outcome"] == "interrupted"


def test_a_long_run_renews_it(console, hold):
    """Between tasks, and with a task's requests to AWS."""
    s3 = console.sandbox.client("s3")
    one = hold(first="disabled", second=60, lease=3)
    written = s3.head_object(Bucket=BUCKET, Key="lock.json")["LastModified"]
    deadline = time.monotonic() + 60
    while (now(s3) - written).total_seconds() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "failed=0" in one.finish()
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix="lock.json")["Versions"]
    last = s3.get_object(Bucket=BUCKET, Key="lock.json", VersionId=versions[0]["VersionId"])
    assert json.loads(last["Body"].read())["renewals"] >= 1


def test_without_the_lock(console):
    run = console.playbook(*LOCK, *values("enabled", 60), "-e", "deployment_lock_enabled=false")
    assert changed(run) == ["First"]
    assert not [name for name in run.step["operations"] if BUCKET in name]


def test_the_journal_can_be_read(console):
    run = console.playbook(*JOURNAL, "-e", "last=3")
    entries = journal(console)
    for entry in entries[-3:]:
        assert f"[run {entry['id']}]" in run.text
    assert f"[run {entries[0]['id']}]" not in run.text
    whole = console.playbook(*JOURNAL, "-e", f"run={entries[0]['id']}")
    assert "resource: cluster lock-test" in whole.output
