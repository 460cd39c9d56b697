"""What is left of a stack: found by its names and tags, told with the command that deletes it, and never touched."""

from __future__ import annotations

TAGS = {"Project": "left", "Environment": "test", "Region": "us-east-1"}
BUCKET = "left-deployment-{account_id}-{region}"
OPTIONS = {"name_prefix": "left", "bucket": BUCKET, "repository": "left-worker", "tags": TAGS}
PAIRS = [{"Key": key, "Value": value} for key, value in TAGS.items()]


def left(module, calls) -> dict[str, dict]:
    calls.clear()
    result = module("stack_leftovers", OPTIONS)
    assert result["changes"] == []
    assert calls.writes == []
    return {one["resource"]: one for one in result["leftovers"]}


def test_nothing_is_left_where_nothing_was(module, calls):
    assert left(module, calls) == {}


def test_each_kind_is_found_and_told_how_to_delete(sandbox, module, calls):
    client = sandbox.client
    ecs, ec2 = client("ecs"), client("ec2")
    ecs.create_cluster(clusterName="left-cluster")
    container = {"name": "a", "image": "nexus-learn-worker:latest", "command": ["true"]}
    network = {"awsvpcConfiguration": {"subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]]}}
    ecs.register_task_definition(
        family="left", cpu="256", memory="512", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
        containerDefinitions=[container],
    )  # fmt: skip
    for name, tags in (("theirs", []), ("mine", [{"key": key, "value": value} for key, value in TAGS.items()])):
        ecs.create_service(
            cluster="left-cluster", serviceName=name, taskDefinition="left", desiredCount=0, launchType="FARGATE",
            networkConfiguration=network, tags=tags,
        )  # fmt: skip
    secrets = client("secretsmanager")
    secrets.create_secret(Name="left/redis", SecretString="hush")
    secrets.delete_secret(SecretId="left/redis", RecoveryWindowInDays=7)
    for name in ("/ecs/left/a", "/elasticache/left/slow-log", "/ecs/left-over/a"):
        client("logs").create_log_group(logGroupName=name)
    tags = {"Tags": PAIRS}
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16", TagSpecifications=[{"ResourceType": "vpc", **tags}])["Vpc"]["VpcId"]
    ec2.create_security_group(
        GroupName="left-redis", Description="x", VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", **tags}],
    )  # fmt: skip
    address = ec2.allocate_address(TagSpecifications=[{"ResourceType": "elastic-ip", **tags}])["PublicIp"]
    client("ecr").create_repository(repositoryName="left-worker", tags=PAIRS)
    client("ecr").create_repository(repositoryName="left-another", tags=PAIRS)
    manifest = '{"mediaType": "application/vnd.oci.image.manifest.v1+json"}'
    client("ecr").put_image(repositoryName="left-worker", imageManifest=manifest, imageTag="1")
    client("s3").create_bucket(Bucket="left-deployment-123456789012-us-east-1")

    found = left(module, calls)
    assert sorted(found) == sorted(
        [
            "bucket left-deployment-123456789012-us-east-1",
            "ECR repository left-worker",
            f"elastic IP {address}",
            "log group /ecs/left/a",
            "log group /elasticache/left/slow-log",
            "secret left/redis",
            "security group left-redis",
            "service mine",
            "service theirs",
            f"VPC {vpc}",
        ]
    )
    assert found["service mine"]["why"] == "it is of this stack"
    assert found["service theirs"]["why"] == "it is of somebody else"
    why = "it is of this stack and holds the images of the application, 1 of them"
    assert found["ECR repository left-worker"]["why"] == why
    assert found["secret left/redis"]["why"].startswith("it can be restored until 20")
    assert found[f"VPC {vpc}"]["delete"] == f"aws ec2 delete-vpc --vpc-id {vpc}"
    assert "hush" not in str(found)
