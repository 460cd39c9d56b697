from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import engine
from hypothesis import given
from hypothesis import strategies as st

scalars = st.one_of(st.integers(0, 5), st.sampled_from(["a", "b"]), st.none(), st.lists(st.integers(0, 2), max_size=2))
documents = st.dictionaries(
    st.sampled_from("abcd"),
    st.one_of(scalars, st.dictionaries(st.sampled_from("xyz"), scalars, max_size=3)),
    max_size=4,
)


@given(before=documents, after=documents)
def test_what_is_predicted_has_no_difference_left(before, after):
    assert list(engine.differences(engine.predicted(before, after), after)) == []


@given(before=documents, after=documents)
def test_what_is_left_out_is_not_looked_at(before, after):
    assert {path.split(".")[0] for path, _, _ in engine.differences(before, after)} <= set(after)


@given(before=documents, after=documents)
def test_a_difference_tells_the_truth(before, after):
    for path, old, new in engine.differences(before, after):
        at_before, at_after = before, after
        for key in path.split("."):
            at_before = at_before.get(key) if isinstance(at_before, dict) else None
            at_after = at_after[key]
        assert (old, new) == (at_before, at_after)
        assert old != new


@given(
    before=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
    after=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
)
def test_exact_mappings_are_enforced_whole(before, after):
    changed = {path for path, _, _ in engine.differences(before, engine.Exact(after))}
    assert changed == {key for key in {*before, *after} if before.get(key) != after.get(key)}


def test_impacts_mark_the_field_and_what_is_below_it():
    changes = engine.update(
        "service x", {"a": {"b": 1}, "ab": 1}, {"a": {"b": 2}, "ab": 2}, {"a": (engine.DISRUPTIVE, "restarts")}
    )
    assert [(c.path, c.impact, c.note) for c in changes] == [("a.b", "disruptive", "restarts"), ("ab", "in-place", "")]


OURS = {"Project": "p", "Environment": "dev", "ManagedBy": "ansible"}


@pytest.mark.parametrize(
    "theirs", [{}, {"Project": "p"}, {"Project": "p", "Environment": "prod"}, {"Project": "q", "Environment": "dev"}]
)
def test_a_resource_of_another_stack_is_refused(theirs):
    with pytest.raises(engine.Refused, match="name_prefix"):
        engine.refuse_foreign("cluster x", theirs, {"tags": OURS})


def test_a_resource_of_this_stack_is_not():
    engine.refuse_foreign("cluster x", {"Project": "p", "Environment": "dev", "extra": "1"}, {"tags": OURS})
    engine.refuse_foreign("cluster x", {}, {"tags": None})


@pytest.mark.parametrize(
    ("theirs", "ours", "foreign"),
    [
        ({}, OURS, True),
        ({"Project": "p", "Environment": "prod"}, OURS, True),
        ({"Project": "p", "Environment": "dev", "ManagedBy": "hand"}, OURS, False),
        ({}, {"Team": "t"}, False),
        ({}, None, False),
    ],
)
def test_foreign_is_what_would_be_refused(theirs, ours, foreign):
    assert engine.is_foreign(theirs, ours) == foreign
    try:
        engine.refuse_foreign("cluster x", theirs, {"tags": ours})
    except engine.Refused:
        assert foreign
    else:
        assert not foreign


@pytest.mark.parametrize("adopt", [["cluster x"], ["cluster *"]])
def test_what_adopt_names_is_taken_over(adopt):
    engine.refuse_foreign("cluster x", {}, {"tags": OURS, "adopt": adopt})


@pytest.mark.parametrize("adopt", [["cluster"], ["x"], []])
def test_what_adopt_does_not_name_is_refused_with_the_way_to_name_it(adopt):
    with pytest.raises(engine.Refused, match=r"""-e '{"adopt": \["cluster x"\]}'"""):
        engine.refuse_foreign("cluster x", {}, {"tags": OURS, "adopt": adopt})


def test_a_beginning_is_replaced_by_the_names_that_have_it():
    params = {"state": "absent", "tags": OURS}
    items = [{"name": "a*", "x": 1}, {"name": "ab", "x": 2}]
    found = engine.expanded(items, "name", params, lambda beginning: [f"{beginning}{end}" for end in "cb"])
    assert found == [{"name": "ab", "x": 2}, {"name": "ac", "x": 1}]
    for wrong in ({"state": "present"}, {"tags": None}, {"tags": {"Project": "p"}}):
        with pytest.raises(engine.Refused, match=r"a\* stands for several"):
            engine.expanded(items, "name", {**params, **wrong}, lambda beginning: [])


def test_diff_is_json_and_has_one_entry_per_resource():
    changes = [
        engine.create("a", {"x": 1}),
        *engine.update("b", {"x": 1, "y": 1}, {"x": 2, "y": 2}),
        engine.delete("c", {"z": 1}),
    ]
    assert json.loads(json.dumps(engine.diff(changes))) == {
        "before": {"b": {"x": 1, "y": 1}, "c": {"z": 1}},
        "after": {"a": {"x": 1}, "b": {"x": 2, "y": 2}},
    }


class Thing:
    """An aggregate of one thing that costs: ``current`` is its number, or None where there is none."""

    def __init__(self, current, fails=None):
        self.current, self.fails = current, fails

    def describe(self, aws, params):
        return self.current

    def plan(self, aws, params, current):
        if params["state"] == "absent":
            return [engine.delete("thing", {"n": current})]
        return engine.update("thing", {"n": current}, {"n": params["n"]})

    def apply(self, aws, params, current, changes, say):
        if self.fails:
            raise self.fails
        self.current = params.get("n")

    def wait(self, aws, params, say):
        pass

    def output(self, aws, params, current):
        return {}

    def resources(self, aws, params, current):
        return ["thing"]

    def billed(self, aws, params, current, wanted):
        return [{"resource": "thing", "n": params["n"] if wanted else current}]


@pytest.mark.parametrize(
    ("params", "resources", "before", "after"),
    [
        ({"state": "present", "n": 2}, ["thing"], [1], [2]),
        ({"state": "absent"}, [], [1], []),
        ({"state": "gathered"}, [], [1], [1]),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_is_managed_and_billed(params, resources, before, after, check_mode):
    aws = SimpleNamespace(region="us-east-1")
    result = engine.run(Thing(1), aws, params, check_mode=check_mode, say=print)
    assert result["resources"] == resources
    assert [item["n"] for item in result["billed"]["before"]] == before
    assert [item["n"] for item in result["billed"]["after"]] == after


def test_a_failure_carries_what_was_to_be_done():
    aws = SimpleNamespace(region="us-east-1")
    params = {"state": "present", "n": 2}
    with pytest.raises(engine.Failed) as caught:
        engine.run(Thing(1, fails=engine.Failed("no")), aws, params, check_mode=False, say=print)
    assert [(change["path"], change["before"], change["after"]) for change in caught.value.planned] == [("n", 1, 2)]


def test_what_only_the_answers_to_writes_tell_is_in_the_output():
    class Telling(Thing):
        def apply(self, aws, params, current, changes, say):
            super().apply(aws, params, current, changes, say)
            return {"ids": {"a": "exact"}}

        def output(self, aws, params, current):
            return {"ids": {"a": "as it looks now", "b": "old"}}

    for check_mode, told in ((True, "as it looks now"), (False, "exact")):
        params = {"state": "present", "n": 2}
        aws = SimpleNamespace(region="us-east-1")
        result = engine.run(Telling(1), aws, params, check_mode=check_mode, say=print)
        assert result["ids"] == {"a": told, "b": "old"}
