import json

import pytest

MODULE = "cloudwatch_dashboards"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
TEXT = {"type": "text", "x": 0, "y": 0, "width": 6, "height": 3, "properties": {"markdown": "hello"}}
METRIC = {
    "type": "metric",
    "properties": {"region": "us-east-1", "metrics": [["AWS/ECS", "CPUUtilization", "ClusterName", "c"]]},
}


@pytest.fixture(scope="module")
def cloudwatch(sandbox):
    return sandbox.client("cloudwatch")


def args(name, *widgets, **more):
    return {"dashboards": [{"name": name, "body": {"widgets": list(widgets), "start": "-PT3H"}}], "tags": TAGS, **more}


def test_create_and_change(quartet, cloudwatch):
    result = quartet(MODULE, args("t-new", TEXT, METRIC))
    found = cloudwatch.get_dashboard(DashboardName="t-new")
    assert json.loads(found["DashboardBody"]) == {"widgets": [TEXT, METRIC], "start": "-PT3H"}
    assert result["dashboards"]["t-new"] == {"arn": found["DashboardArn"], "tags": TAGS}
    assert result["billed"]["after"] == [{"kind": "dashboard", "resource": "dashboard t-new"}]
    other = {**METRIC, "properties": {**METRIC["properties"], "title": "CPU"}}
    changes = quartet(MODULE, args("t-new", TEXT, other))["changes"]
    assert [(c["path"], c["before"], c["after"]) for c in changes] == [("body.widgets.1.properties.title", None, "CPU")]
    assert [c["path"] for c in quartet(MODULE, args("t-new", TEXT))["changes"]] == ["body.widgets.1"]


def test_another_layout_of_the_same_body_is_no_change(module, cloudwatch):
    wanted = args("t-layout", TEXT)
    module(MODULE, wanted)
    body = wanted["dashboards"][0]["body"]
    cloudwatch.put_dashboard(DashboardName="t-layout", DashboardBody=json.dumps(body, indent=4, sort_keys=True))
    as_text = {**wanted, "dashboards": [{"name": "t-layout", "body": json.dumps(body)}]}
    assert [module(MODULE, one, check=True)["changes"] for one in (wanted, as_text)] == [[], []]


@pytest.mark.parametrize(
    ("dashboard", "words"),
    [
        ({"name": "t wrong", "body": {"widgets": []}}, "allowed in a name"),
        ({"name": "t-wrong"}, "needs a list of widgets"),
        ({"name": "t-wrong", "body": {"widgets": {}}}, "needs a list of widgets"),
        ({"name": "t-wrong", "body": {"widgets": [{"type": "text"}]}}, "widget 0 needs type and properties"),
        ({"name": "t-wrong", "body": {"widgets": [{**TEXT, "width": 25}]}}, "widget 0 has the width 25"),
        ({"name": "t-wrong", "body": {"widgets": [TEXT] * 501}}, "has 501 widgets"),
    ],
)
def test_refusals(module, calls, dashboard, words):
    result = module(MODULE, {"dashboards": [dashboard], "tags": TAGS}, expect_failure=True)
    assert words in result["msg"]
    assert calls.writes == []


def test_twice_the_same(module):
    twice = {"dashboards": args("t-twice", TEXT)["dashboards"] * 2, "tags": TAGS}
    assert "twice in dashboards" in module(MODULE, twice, expect_failure=True)["msg"]


def test_absent_finds_dashboards_by_their_beginning_and_tags(module, left_alone, cloudwatch, calls):
    for name in ("t-gone-a", "t-gone-b", "t-gonee"):
        module(MODULE, args(name, TEXT))
    cloudwatch.put_dashboard(DashboardName="t-gone-theirs", DashboardBody=json.dumps({"widgets": []}))
    star = {"dashboards": [{"name": "t-gone-*"}], "tags": TAGS, "state": "absent"}
    calls.clear()
    result = module(MODULE, star)
    assert [change["resource"] for change in result["changes"]] == ["dashboard t-gone-a", "dashboard t-gone-b"]
    assert calls.writes == [("cloudwatch", "DeleteDashboards")]
    entries = cloudwatch.list_dashboards(DashboardNamePrefix="t-gone")["DashboardEntries"]
    assert [entry["DashboardName"] for entry in entries] == ["t-gone-theirs", "t-gonee"]
    assert len(left_alone(MODULE, star)) == 1


def test_adopt_takes_over_exactly_what_differs(module, left_alone, cloudwatch, calls):
    theirs = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "prod"}]
    body = json.dumps({"widgets": [METRIC], "start": "-PT3H"})
    cloudwatch.put_dashboard(DashboardName="t-adopt", DashboardBody=body, Tags=theirs)
    wanted = args("t-adopt", METRIC, TEXT)
    calls.clear()
    assert "adopt" in module(MODULE, wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["dashboard t-adopt"]}
    assert len(left_alone(MODULE, adopting)) == 1
    foretold = module(MODULE, adopting, check=True)["changes"]
    paths = {change["path"] for change in foretold}
    assert {"tags.Environment", "tags.ManagedBy"} <= paths
    assert {path for path in paths if not path.startswith("tags.")} == {
        "body.widgets.1.type",
        "body.widgets.1.x",
        "body.widgets.1.y",
        "body.widgets.1.width",
        "body.widgets.1.height",
        "body.widgets.1.properties.markdown",
    }
    assert module(MODULE, adopting)["changes"] == foretold
    assert module(MODULE, wanted, check=True)["changes"] == []
