"""What the callback `run` keeps for the journal of what a run's tasks return."""

from types import SimpleNamespace

from ansible_collections.nexus_learn.aws.plugins.callback.run import CallbackModule

CHANGE = {"resource": "cluster x", "action": "update", "path": "tags.a", "before": None, "after": "1"}


def returned(result, tags=()):
    return SimpleNamespace(result=result, task=SimpleNamespace(get_name=lambda: "Role : Task", tags=list(tags)))


def test_what_a_task_that_failed_had_planned_is_told_apart_from_what_was_changed():
    run = CallbackModule()
    run.v2_runner_on_ok(returned({"changed": True, "changes": [CHANGE]}))
    run.v2_runner_on_failed(returned({"failed": True, "msg": "It rolled back.", "planned": [CHANGE]}))
    assert run.changes == run.unfinished == [{"task": "Role : Task", **CHANGE}]
    assert run.message == "Role : Task: It rolled back."


def test_of_a_loop_the_first_item_that_failed_says_why():
    run = CallbackModule()
    for reason in ("first", "second"):
        run.v2_runner_item_on_failed(returned({"failed": True, "msg": reason}))
    run.v2_runner_on_failed(returned({"failed": True, "msg": "One or more items failed"}))
    assert run.message == "Role : Task: first"
    run.v2_runner_on_failed(returned({"failed": True, "msg": "another task"}))
    assert run.message == "Role : Task: another task"


def test_the_outputs_are_what_a_task_with_that_tag_shows():
    run = CallbackModule()
    run.v2_runner_on_ok(returned({"msg": {"secret": "of another task"}}))
    run.v2_runner_on_ok(returned({"msg": {"redis_port": 6379}}, tags=["outputs"]))
    assert run.outputs == {"redis_port": 6379}


def test_the_next_playbook_of_a_command_begins_anew():
    run = CallbackModule()
    run.v2_runner_on_ok(returned({"changes": [CHANGE]}))
    run.forget()
    assert run.changes == []
