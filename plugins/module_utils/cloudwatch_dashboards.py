# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CloudWatch dashboards. They are global: one of a name in an account, whatever the region.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_alarms import mend_tags
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    expanded,
    is_foreign,
    leave_foreign,
    refuse_foreign,
    update,
)


def resource(name: str) -> str:
    return f"dashboard {name}"


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``dashboards`` with ``*`` replaced by the names of dashboards."""

    def find(beginning: str) -> list[str]:
        prefix = {"DashboardNamePrefix": beginning} if beginning else {}
        there = aws.pages("cloudwatch", "list_dashboards", "DashboardEntries", **prefix)
        return [dashboard["DashboardName"] for dashboard in there]

    return {**params, "dashboards": expanded(params["dashboards"], "name", params, find)}


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Dashboards by name: ``{arn, body, tags}``, the body as data."""
    client = aws.client("cloudwatch")

    def one(name: str) -> dict | None:
        try:
            found = client.get_dashboard(DashboardName=name)
        except client.exceptions.ClientError as error:
            if error_code(error) in ("ResourceNotFound", "DashboardNotFoundError"):
                return None
            raise
        return {"arn": found["DashboardArn"], "body": json.loads(found["DashboardBody"])}

    names = [dashboard["name"] for dashboard in params["dashboards"]]
    answers = together(*(lambda name=name: one(name) for name in names))
    found = {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}
    tags = aws.tags(
        [dashboard["arn"] for dashboard in found.values()],
        lambda arn: {tag["Key"]: tag["Value"] for tag in client.list_tags_for_resource(ResourceARN=arn)["Tags"]},
    )
    return {name: {**dashboard, "tags": tags[dashboard["arn"]]} for name, dashboard in found.items()}


def comparable(body: Any) -> Any:
    """A body in which a list of mappings is a mapping by place, so that a difference names the widget and the field."""
    if isinstance(body, Mapping):
        return Exact({str(key): comparable(value) for key, value in body.items()})
    if isinstance(body, list) and body and all(isinstance(item, Mapping) for item in body):
        return Exact({str(place): comparable(item) for place, item in enumerate(body)})
    return body


def desired(params: Mapping, dashboard: Mapping) -> dict[str, Any]:
    fields: dict[str, Any] = {"body": comparable(dashboard["body"])}
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    names = [dashboard["name"] for dashboard in params["dashboards"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"{resource(name)} is twice in dashboards. Give each a name of its own.")
    changes: list[Change] = []
    for dashboard in params["dashboards"]:
        label, there = resource(dashboard["name"]), current.get(dashboard["name"])
        if params["state"] == "absent":
            if there is not None and is_foreign(there["tags"], params["tags"]):
                changes.append(leave_foreign(label, there["tags"]))
            elif there is not None:
                changes.append(delete(label, there, note="what it shows is lost, the metrics are not"))
            continue
        _refuse_wrong(dashboard)
        if there is None:
            changes.append(create(label, desired(params, dashboard)))
        else:
            refuse_foreign(label, there["tags"], params)
            now = {"body": comparable(there["body"]), "tags": there["tags"]}
            changes += update(label, now, desired(params, dashboard))
    return changes


def _refuse_wrong(dashboard: Mapping) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""
    label, body = resource(dashboard["name"]), dashboard["body"]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", dashboard["name"]):
        raise Refused(f"{label}: allowed in a name: up to 255 letters, digits, - and _.")
    if not body or not isinstance(body.get("widgets"), list):
        raise Refused(f"{label}: its body needs a list of widgets.")
    if len(body["widgets"]) > 500:
        raise Refused(f"{label} has {len(body['widgets'])} widgets; allowed: up to 500.")
    for place, widget in enumerate(body["widgets"]):
        if not isinstance(widget, Mapping) or not {"type", "properties"} <= widget.keys():
            raise Refused(f"{label}: widget {place} needs type and properties.")
        if not 1 <= widget.get("width", 6) <= 24:
            raise Refused(f"{label}: widget {place} has the width {widget['width']}; allowed: 1 to 24.")


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    client, planned = aws.client("cloudwatch"), by_resource(changes)
    mine = [dashboard for dashboard in params["dashboards"] if resource(dashboard["name"]) in planned]
    if params["state"] == "absent":
        client.delete_dashboards(DashboardNames=[dashboard["name"] for dashboard in mine])
        return

    def put(dashboard: Mapping) -> None:
        there, its = current.get(dashboard["name"]), planned[resource(dashboard["name"])]
        if any(not change.path.startswith("tags.") for change in its):
            tags = {"Tags": ansible_dict_to_boto3_tag_list(params["tags"])} if there is None and params["tags"] else {}
            answer = client.put_dashboard(
                DashboardName=dashboard["name"], DashboardBody=json.dumps(dashboard["body"]), **tags
            )
            for message in answer.get("DashboardValidationMessages", []):  # it was saved nevertheless
                say(f"{resource(dashboard['name'])}: {message.get('DataPath', '')} {message.get('Message', '')}")
        if there is not None:
            mend_tags(client, there["arn"], its)

    together(*(lambda dashboard=dashboard: put(dashboard) for dashboard in mine))


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Dashboards are there when the call returns."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == "absent":
        return {"dashboards": {}}

    def one(dashboard: Mapping) -> dict[str, Any]:
        there = current.get(dashboard["name"])
        if there is None:  # only then: the account's number costs a call
            there = {"arn": aws.arn("cloudwatch", f"dashboard/{dashboard['name']}", region=False), "tags": {}}
        tags = there["tags"] if params["tags"] is None else dict(params["tags"])
        return {"arn": there["arn"], "tags": tags}

    return {"dashboards": {dashboard["name"]: one(dashboard) for dashboard in params["dashboards"]}}


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(dashboard["name"]) for dashboard in params["dashboards"]]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    return [
        {"kind": "dashboard", "resource": resource(dashboard["name"])}
        for dashboard in params["dashboards"]
        if wanted or dashboard["name"] in current
    ]
