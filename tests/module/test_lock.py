"""The deployment lock: who gets it, who is told what, and what it costs those who do not need it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import uuid

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws as aws_module
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_cluster, engine
from ansible_collections.nexus_learn.aws.plugins.module_utils import lock as lock_module

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
fork = multiprocessing.get_context("fork")


@pytest.fixture
def s3(sandbox):
    return sandbox.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"l-{uuid.uuid4().hex[:8]}-123456789012"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def lock(bucket):
    """The option, as a playbook gives it."""
    return {"bucket": bucket.replace("123456789012", "{account_id}")}


@pytest.fixture
def args(lock):
    return {"name": f"c-{uuid.uuid4().hex[:8]}", "container_insights": "enabled", "tags": TAGS, "lock": lock}


@pytest.fixture
def params(module, lock):
    """What a module's option becomes, for those who take the lock without a module."""

    def make(**options):
        return {"region": "us-east-1", "lock": {"enabled": True, "lease": 900, "run_id": None, **lock, **options}}

    return make


@pytest.fixture
def run(monkeypatch):
    """A run of ansible-playbook, made in this process."""
    made = lock_module.Run({"playbook": "site.yml", "inventory": ["inventories/dev"]})
    monkeypatch.setattr(lock_module, "RUN", made)
    yield made
    monkeypatch.setattr(lock_module, "RUN", None)
    made.alone(timeout=0)


def there(s3, bucket) -> dict | None:
    """The lock as it lies in the bucket."""
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key="lock.json")["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None


def of(calls, service: str) -> list[str]:
    return [operation for one, operation in calls if one == service]


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_who_changes_nothing_does_not_look_at_it(module, calls, args):
    module("ecs_cluster", {**args, "lock": None})
    calls.clear()
    assert module("ecs_cluster", args)["changes"] == []
    assert of(calls, "s3") == of(calls, "sts") == []


def test_a_check_does_not_look_at_it(module, calls, args):
    calls.clear()
    assert module("ecs_cluster", args, check=True)["changes"]
    assert of(calls, "s3") == []


def test_a_task_alone_takes_it_and_gives_it_back(module, calls, s3, bucket, args):
    calls.clear()
    assert module("ecs_cluster", args)["changed"]
    assert of(calls, "s3") == ["GetObject", "PutObject", "GetObject", "DeleteObject"]
    names = [operation for _, operation in calls]
    assert names.index("PutObject") < names.index("CreateCluster") < names.index("DeleteObject")
    assert there(s3, bucket) is None


def test_turned_off(module, calls, args):
    calls.clear()
    assert module("ecs_cluster", {**args, "lock": {**args["lock"], "enabled": False}})["changed"]
    assert of(calls, "s3") == []


# --- the tasks of one run share it -----------------------------------------------------------------------------------


def test_a_run_keeps_it(module, calls, run, s3, bucket, args):
    module("ecs_cluster", args)
    assert there(s3, bucket)["id"] == run.id
    assert there(s3, bucket)["playbook"] == "site.yml"
    calls.clear()
    module("ecs_cluster", {**args, "container_insights": "disabled"})
    assert of(calls, "s3") == ["GetObject"]
    assert of(calls, "ecs").count("UpdateCluster") == 1
    assert list(run.locks()) == [args["lock"]["bucket"]]
    assert run.locks()[args["lock"]["bucket"]]["held"]


def test_a_task_on_another_host_shares_it_and_leaves_it(module, run, s3, bucket, args):
    lent = lock_module.lend(args)
    assert lent["lock"]["run_id"] == run.id
    assert list(run.locks()) == [args["lock"]["bucket"]], "the run will release it"
    lock_module.RUN = None  # there
    module("ecs_cluster", lent)
    assert there(s3, bucket)["id"] == run.id


def test_what_makes_the_bucket_needs_no_lock(module, s3, bucket, lock):
    s3.delete_bucket(Bucket=bucket)
    made = module("s3_bucket", {"name": lock["bucket"], "tags": TAGS, "lock": lock})
    assert [change["action"] for change in made["changes"]] == ["create"]
    module("s3_bucket", {"name": lock["bucket"], "versioning": True, "lock": lock})
    assert s3.list_object_versions(Bucket=bucket)["DeleteMarkers"], "a change of it does"


def test_a_plan_made_before_the_lock_is_made_again(module, calls, monkeypatch, args):
    """Somebody else held it, did the same and let go between this plan and this lock."""
    acquire = lock_module.Lock.acquire

    def meanwhile(self):
        monkeypatch.setattr(lock_module.Lock, "acquire", acquire)
        module("ecs_cluster", args)
        return acquire(self)

    monkeypatch.setattr(lock_module.Lock, "acquire", meanwhile)
    assert module("ecs_cluster", args)["changes"] == []
    assert of(calls, "ecs").count("CreateCluster") == 1


# --- two runs --------------------------------------------------------------------------------------------------------


def test_the_second_is_told_by_whom_and_changes_nothing(module, calls, s3, bucket, args, params):
    other = lock_module.Lock(params(run_id=uuid.uuid4().hex))
    assert other.acquire()
    calls.clear()
    message = module("ecs_cluster", args, expect_failure=True)["msg"]
    assert "arn:aws:sts::123456789012:user/moto" in message
    assert f"-e lock_id={other.run_id}" in message
    assert "last sign of life 20" in message
    assert calls.writes == []
    other.release()
    assert module("ecs_cluster", args)["changed"]


def contend(params, gate, results):
    """Try to take the lock; all have seen the same lie there before the first of them writes."""
    one = lock_module.Lock(params)
    put, first = one._put, iter([gate.wait])

    def together(content, **condition):
        next(first, lambda: None)()
        put(content, **condition)

    one._put = together
    try:
        results.put(one.run_id if one.acquire() else "shared")
    except engine.Refused as refusal:
        results.put(str(refusal))


def test_workers_of_one_run_at_once_share_it(s3, bucket, params, run):
    gate, results = fork.Barrier(4), fork.Queue()
    workers = [fork.Process(target=contend, args=(params(), gate, results)) for _ in range(4)]
    for one in workers:
        one.start()
    answers = {results.get(timeout=120) for _ in workers}
    for one in workers:
        one.join()
    assert run.id in answers
    assert answers <= {run.id, "shared"}
    assert there(s3, bucket)["id"] == run.id
    (told,) = run.locks().values()
    assert told["held"]


@pytest.mark.parametrize("lying", ["nothing", "an expired lock"])
def test_of_many_who_try_at_once_one_gets_it(s3, bucket, params, lying):
    if lying != "nothing":
        s3.put_object(Bucket=bucket, Key="lock.json", Body=json.dumps({"id": uuid.uuid4().hex, "lease": -1}))
    gate, results = fork.Barrier(6), fork.Queue()
    contenders = [fork.Process(target=contend, args=(params(), gate, results)) for _ in range(6)]
    for one in contenders:
        one.start()
    answers = [results.get(timeout=120) for _ in contenders]
    for one in contenders:
        one.join()
    refused = [answer for answer in answers if answer.startswith("This stack is being changed by")]
    (winner,) = [answer for answer in answers if answer not in refused]
    assert there(s3, bucket)["id"] == winner
    assert all(f"lock_id={winner}" in refusal for refusal in refused)


def test_a_lost_answer_is_not_taken_for_somebody_elses_lock(s3, bucket, params, monkeypatch):
    """The SDK repeats a request whose answer was lost, and the repetition finds the first one's lock."""
    one = lock_module.Lock(params())
    put = one._put

    def twice(content, **condition):
        put(content, **condition)
        put(content, **condition)

    monkeypatch.setattr(one, "_put", twice)
    assert one.acquire(), "and the plan is to be made again"
    assert there(s3, bucket)["id"] == one.run_id


def hold_and_wait(params, ready):
    lock_module.RUN = lock_module.Run({"playbook": "site.yml"})
    lock_module.Lock(params).acquire()
    ready.set()
    signal.pause()


def test_a_killed_run_of_this_machine_is_taken_over_at_once(module, bucket, s3, args, params):
    ready = fork.Event()
    victim = fork.Process(target=hold_and_wait, args=(params(), ready))
    victim.start()
    assert ready.wait(60)
    held = there(s3, bucket)["id"]
    assert "is being changed by" in module("ecs_cluster", args, expect_failure=True)["msg"], "it lives"
    victim.kill()
    victim.join()
    done = module("ecs_cluster", args)
    assert done["changed"]
    (warning,) = done["warnings"]
    assert warning.startswith("Took over the lock of a run that has ended (its process is gone)")
    assert there(s3, bucket) is None
    os.unlink(lock_module.life(held))


def test_one_that_gives_no_sign_of_life_is_taken_over_when_its_lease_is_over(module, s3, bucket, args, params):
    """By S3's clock: what the holder's says is not looked at."""
    content = {"id": uuid.uuid4().hex, "user": "alice@laptop", "lease": 900, "started": "2999-01-01 00:00:00 UTC"}
    s3.put_object(Bucket=bucket, Key="lock.json", Body=json.dumps(content))
    assert "by alice@laptop (?) since 2999" in module("ecs_cluster", args, expect_failure=True)["msg"]
    s3.put_object(Bucket=bucket, Key="lock.json", Body=json.dumps({**content, "lease": 1}))
    deadline = time.monotonic() + 60
    while not lock_module.Lock(params()).read().expired:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (warning,) = module("ecs_cluster", args)["warnings"]
    assert "no sign of life for" in warning
    assert "alice@laptop" in warning


def test_what_is_no_lock_of_ours_is_not_overwritten(module, s3, bucket, args):
    s3.put_object(Bucket=bucket, Key="lock.json", Body=b"made by hand")
    assert "is being changed by ?" in module("ecs_cluster", args, expect_failure=True)["msg"]


# --- a lock that is lost ---------------------------------------------------------------------------------------------


def test_a_broken_lock_stops_the_run_before_its_next_change(module, calls, run, s3, bucket, args):
    module("ecs_cluster", args)
    broken = module("deployment_lock", {"bucket": args["lock"]["bucket"], "lock_id": run.id, "state": "absent"})
    assert broken["changed"]
    calls.clear()
    message = module("ecs_cluster", {**args, "container_insights": "disabled"}, expect_failure=True)["msg"]
    assert "Somebody broke this run's lock" in message
    assert calls.writes == []
    other = uuid.uuid4().hex
    s3.put_object(Bucket=bucket, Key="lock.json", Body=json.dumps({"id": other, "user": "bob@desk"}))
    message = module("ecs_cluster", {**args, "container_insights": "disabled"}, expect_failure=True)["msg"]
    assert "now bob@desk" in message
    assert there(s3, bucket)["id"] == other


def test_it_is_renewed_with_the_requests_of_a_long_change(s3, bucket, params, calls):
    one, work = lock_module.Lock(params(lease=3)), aws_module.Aws({"region": "us-east-1"})
    with one.hold(work, []):
        first = s3.head_object(Bucket=bucket, Key="lock.json")
        calls.clear()
        deadline = time.monotonic() + 60
        while there(s3, bucket).get("renewals", 0) < 2:
            work.client("ecs").list_clusters()
            time.sleep(0.1)
            assert time.monotonic() < deadline
        assert calls.writes, "that is what keeps it"
        assert s3.head_object(Bucket=bucket, Key="lock.json")["LastModified"] > first["LastModified"]


def test_a_change_under_way_stops_before_its_next_request(s3, bucket, params, calls, monkeypatch):
    one, work = lock_module.Lock(params(run_id=uuid.uuid4().hex)), aws_module.Aws({"region": "us-east-1"})
    with one.hold(work, []):
        s3.delete_object(Bucket=bucket, Key="lock.json")
        one._renewed = 0  # it is time for a sign of life
        calls.clear()
        for _ in range(2):
            with pytest.raises(engine.Failed, match="Somebody broke this run's lock"):
                work.client("ecs").create_cluster(clusterName="never")
    assert there(s3, bucket) is None
    assert "never" not in str(work.client("ecs").list_clusters()["clusterArns"])


def work_on(params, ready, going, results):
    """A worker of a run: ``going`` tells it that ansible-playbook has been killed."""
    one, work = lock_module.Lock(params), aws_module.Aws({"region": "us-east-1"})
    with one.hold(work, []):
        ready.set()
        going.wait()
        try:
            ecs_cluster.describe(work, {"name": "x"})
        except engine.Failed as error:
            results.put(str(error))


def playbook_with_worker(params, ready, going, results):
    lock_module.RUN = lock_module.Run({})
    os.setsid()
    fork.Process(target=work_on, args=(params, ready, going, results)).start()
    signal.pause()


def test_the_worker_of_a_killed_run_is_waited_for_and_stops(module, s3, bucket, params, args):
    ready, going, results = fork.Event(), fork.Event(), fork.Queue()
    playbook = fork.Process(target=playbook_with_worker, args=(params(), ready, going, results))
    playbook.start()
    assert ready.wait(60)
    run_id = there(s3, bucket)["id"]
    playbook.kill()
    playbook.join()
    assert lock_module.alive(run_id), "its worker holds it alive"
    going.set()
    (warning,) = module("ecs_cluster", args)["warnings"]
    assert "its process is gone" in warning
    assert results.get(timeout=60) == "ansible-playbook is gone; its worker stops."
    os.unlink(lock_module.life(run_id))


# --- when it cannot be had -------------------------------------------------------------------------------------------


def test_no_bucket(module, s3, bucket, args, calls):
    s3.delete_bucket(Bucket=bucket)
    calls.clear()
    message = module("ecs_cluster", args, expect_failure=True)["msg"]
    assert bucket in message
    assert "--tags deployment" in message
    assert "deployment_lock_enabled: false" in message
    assert calls.writes == []


def test_no_permission(module, s3, bucket, args, calls):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [deny]}))
    calls.clear()
    message = module("ecs_cluster", args, expect_failure=True)["msg"]
    assert "GetObject" in message
    assert "deployment_lock_enabled: false" in message
    assert calls.writes == []


# --- looking at it, and breaking it ----------------------------------------------------------------------------------


def test_look_at_it_and_break_it(quartet, module, s3, bucket, lock, params):
    look = {"bucket": lock["bucket"]}
    assert module("deployment_lock", look)["holder"] is None
    one = lock_module.Lock(params(run_id=uuid.uuid4().hex))
    one.acquire()
    found = module("deployment_lock", look)["holder"]
    assert (found["id"], found["expired"]) == (one.run_id, False)
    newer = module("deployment_lock", {**look, "lock_id": "older", "state": "absent"}, expect_failure=True)["msg"]
    assert f"Another one is, {one.run_id}" in newer
    assert there(s3, bucket)["id"] == one.run_id
    broken = quartet("deployment_lock", {**look, "lock_id": one.run_id, "state": "absent"})
    assert [change["action"] for change in broken["changes"]] == ["delete"]
    assert there(s3, bucket) is None
    (entry,) = module("deployment_journal", look)["entries"]
    assert (entry["id"], entry["outcome"]) == (one.run_id, "lock broken")


def test_the_journal_has_the_last_first_and_one_alone(module, lock, params, s3, bucket, calls):
    for number in range(4):
        s3.put_object(
            Bucket=bucket, Key=f"journal/2026112{number}T000000Z-r{number}.json", Body=f'{{"id": "r{number}"}}'
        )
    calls.clear()
    read = {"bucket": lock["bucket"]}
    assert [one["id"] for one in module("deployment_journal", {**read, "limit": 2})["entries"]] == ["r2", "r3"]
    assert [one["id"] for one in module("deployment_journal", {**read, "run_id": "r1"})["entries"]] == ["r1"]
    assert module("deployment_journal", {"bucket": "nothing-here"})["entries"] == []
    assert calls.writes == []
