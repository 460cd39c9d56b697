"""destroy.yml finds what the stack owns by its tags, leaves what others own, and may be stopped at any point."""

from __future__ import annotations

import json
import re

import pytest
from steps import writes

SITE = ("site.yml", "-i", "inventories/dev")
ALONE = ("playbooks/destroy.yml", "-i", "inventories/dev", "-e", "stack=nexus-learn")
DESTROY = (*ALONE, "-e", "delete_redis=nexus-learn-redis")
TWO_SERVICES = {
    "celery_services": [
        {"name": "celery-langgraph", "queues": ["langgraph"], "desired_count": 1},
        {"name": "celery-embeddings", "queues": ["embeddings"], "desired_count": 1},
    ]
}
SERVICES = ["backend", "celery-beat", "celery-embeddings", "celery-langgraph"]
THEIRS = {"Project": "nexus-learn", "Environment": "prod"}


def services(console) -> list[str]:
    ecs = console.sandbox.client("ecs")
    return sorted(arn.rsplit("/", 1)[-1] for arn in ecs.list_services(cluster="nexus-learn-cluster")["serviceArns"])


@pytest.fixture(scope="module")
def deployed(console) -> None:
    """A stack with two worker services that its inventory no longer names, and things of others that look like its."""
    client = console.sandbox.client
    console.playbook(*SITE, "-e", json.dumps(TWO_SERVICES))
    assert services(console) == [f"nexus-learn-{name}-service" for name in SERVICES]
    tags = [{"Key": key, "Value": value} for key, value in THEIRS.items()]
    for name, its_tags in (
        (
            "nexus-learn-redis6-x",
            client("elasticache").list_tags_for_resource(
                ResourceName="arn:aws:elasticache:us-east-1:123456789012:parametergroup:nexus-learn-redis7"
            )["TagList"],
        ),
        ("nexus-learn-prod-redis7", tags),
    ):
        client("elasticache").create_cache_parameter_group(
            CacheParameterGroupName=name, CacheParameterGroupFamily="redis7", Description="x", Tags=its_tags
        )
    manifest = json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json"})
    client("ecr").put_image(repositoryName="nexus-learn-worker", imageManifest=manifest, imageTag="1")
    client("logs").create_log_group(logGroupName="/ecs/nexus-learn/theirs", tags=THEIRS)
    iam = client("iam")
    iam.untag_role(RoleName="nexus-learn-backend-task", TagKeys=["Environment"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "Confirm that it is to be deleted, after a final snapshot, with -e delete_redis=nexus-learn-redis"),
        (("-e", "delete_redis=nexus-learn"), "you gave nexus-learn. Nothing was touched."),
        (
            ("-e", "delete_redis=nexus-learn-redis", "-e", "deployment_bucket_delete=true"),
            "Confirm it with -e delete_bucket=nexus-learn-deployment. Nothing was touched.",
        ),
        (
            ("-e", "delete_redis=nexus-learn-redis", "-e", "ecr_repository_delete=true"),
            "Confirm it with -e delete_repository=nexus-learn-worker. Nothing was touched.",
        ),
    ],
)
def test_what_holds_data_is_confirmed_by_its_name(console, deployed, given, words):
    run = console.playbook(*ALONE, *given, succeeds=False)
    assert words in run.text
    assert writes(run.step) == []


@pytest.fixture(scope="module")
def foretold(console, deployed) -> list[str]:
    return console.playbook(*DESTROY, "--check").changed_tasks


def test_a_check_deletes_nothing(console, foretold):
    assert services(console) == [f"nexus-learn-{name}-service" for name in SERVICES]
    assert "ecs_celery_worker : destroy | Drain and delete the workers" in foretold


def test_ctrl_c_while_redis_is_being_deleted(console, foretold):
    client = console.sandbox.client
    before = console.interrupted(*DESTROY, after="replication group nexus-learn-redis: deleting")
    assert services(console) == [], "every service is gone before Redis is touched"
    targets = client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert targets == []
    assert before.count("is left alone") == 1


def test_ctrl_c_in_the_network_and_again(console, foretold):
    client = console.sandbox.client
    before = console.interrupted(*ALONE, after="TASK [network : destroy | Delete the VPC")
    assert client("elasticache").describe_replication_groups()["ReplicationGroups"] == []
    assert "log group /ecs/nexus-learn/theirs is left alone" in re.sub(r"\s+", " ", before)
    run = console.playbook(*ALONE)
    assert set(run.changed_tasks) <= set(foretold)
    assert "ecs_celery_worker : destroy | Drain and delete the workers" not in run.changed_tasks
    assert "IAM role nexus-learn-backend-task is left alone" in run.text


def test_nothing_is_left_but_what_others_own(console, foretold):
    client = console.sandbox.client
    mine = [{"Name": "tag:Project", "Values": ["nexus-learn"]}]
    assert client("ec2").describe_vpcs(Filters=mine)["Vpcs"] == []
    assert client("elasticache").describe_replication_groups()["ReplicationGroups"] == []
    assert [item["logGroupName"] for item in client("logs").describe_log_groups()["logGroups"]] == [
        "/ecs/nexus-learn/theirs"
    ]
    assert [role["RoleName"] for role in client("iam").list_roles()["Roles"]] == ["nexus-learn-backend-task"]
    groups = client("elasticache").describe_cache_parameter_groups()["CacheParameterGroups"]
    names = [group["CacheParameterGroupName"] for group in groups]
    assert [name for name in names if not name.startswith("default.")] == ["nexus-learn-prod-redis7"]
    assert console.sandbox.status()["services"] == []
    run = console.playbook(*ALONE)
    assert run.changed == 0, "Redis is gone, and need not be confirmed any more"
    (snapshot,) = client("elasticache").describe_snapshots()["Snapshots"]
    assert re.findall(r"\(item=(.+?)\) =>", run.output) == [
        f"snapshot {snapshot['SnapshotName']}",
        "secret nexus-learn/redis",
        "log group /ecs/nexus-learn/theirs",
        "ECR repository nexus-learn-worker",
        "bucket nexus-learn-deployment-123456789012-us-east-1",
    ]
    # a cluster of the same name, made by somebody else, stops nothing
    tags = [{"key": key, "value": value} for key, value in THEIRS.items()]
    client("ecs").create_cluster(clusterName="nexus-learn-cluster", tags=tags)
    run = console.playbook(*DESTROY)
    assert run.changed == 0
    assert "cluster nexus-learn-cluster is left alone" in run.text
    assert "Kept: the bucket nexus-learn-deployment-123456789012-us-east-1 with the journal of this stack" in run.text
    assert "Kept: the repository nexus-learn-worker with 1 image(s)." in run.text
    repositories = ("-e", "ecr_repository_delete=true", "-e", "delete_repository=nexus-learn-worker")
    run = console.playbook(*ALONE, *repositories)
    assert run.changed_tasks == ["ecr_repository : destroy | Delete the repository with all images"]
    assert "1 image in it are lost" in run.text
    assert client("ecr").describe_repositories()["repositories"] == []
    bucket = client("s3").list_buckets()["Buckets"]
    assert [item["Name"] for item in bucket] == ["nexus-learn-deployment-123456789012-us-east-1"]
    bucket = ("-e", "deployment_bucket_delete=true", "-e", "delete_bucket=nexus-learn-deployment")
    run = console.playbook(*ALONE, *bucket)
    assert run.changed_tasks == ["deployment : destroy | Delete the bucket with the journal"]
    assert client("s3").list_buckets()["Buckets"] == []
    assert client("ecs").describe_clusters(clusters=["nexus-learn-cluster"])["clusters"][0]["status"] == "ACTIVE"
