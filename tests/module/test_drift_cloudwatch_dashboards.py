"""Every option of cloudwatch_dashboards: changed by hand, seen as exactly that field, mended, nothing else moved."""

import json

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "cloudwatch_dashboards"
TAGS = {"Project": "nexus-learn", "Environment": "test"}
BODY = {"start": "-PT3H", "widgets": [{"type": "text", "width": 6, "properties": {"markdown": "hello"}}]}
ARGUMENTS = {"dashboards": [{"name": "drift", "body": BODY}], "tags": TAGS}


def put(**changes):
    return lambda c, arn: c.put_dashboard(DashboardName="drift", DashboardBody=json.dumps({**BODY, **changes}))


def of(*paths):
    return {("dashboard drift", path) for path in paths}


# option -> (what somebody does by hand, what a check says of it)
CASES = {
    "dashboards.body": (put(start="-P1D"), of("body.start")),
    "dashboards.body more": (put(end="-PT1H"), of("body.end")),
    "dashboards.body widget": (
        put(widgets=[{"type": "text", "width": 6, "properties": {"markdown": "bye"}}]),
        of("body.widgets.0.properties.markdown"),
    ),
    "dashboards.name": (lambda c, arn: c.delete_dashboards(DashboardNames=["drift"]), of("create")),
    "tags": (
        lambda c, arn: c.tag_resource(ResourceARN=arn, Tags=[{"Key": "more", "Value": "yes"}]),
        of("tags.more"),
    ),
}
NO_FIELD = {"state": "says whether there is to be one at all"}


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, sandbox, change, expected):
    cloudwatch = sandbox.client("cloudwatch")
    arn = module(MODULE, ARGUMENTS)["dashboards"]["drift"]["arn"]

    def snapshot():
        if not cloudwatch.list_dashboards(DashboardNamePrefix="drift")["DashboardEntries"]:
            return None
        body = json.loads(cloudwatch.get_dashboard(DashboardName="drift")["DashboardBody"])
        return body, sorted(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"], key=str)

    drifts(module, MODULE, ARGUMENTS, snapshot, lambda: change(cloudwatch, arn), expected)


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
