"""Bad input gets one clear sentence, before anything is touched."""

from __future__ import annotations

import pytest

SITE = ("site.yml", "-i", "inventories/dev")


def nothing_was_made(console) -> bool:
    ec2, ecs = console.sandbox.client("ec2"), console.sandbox.client("ecs")
    vpcs = [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    return not vpcs and not ecs.list_clusters()["clusterArns"]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            "redis_node_type=cache.t9.huge celery_desired_count=9 aws_region=us-est-1",
            [
                "redis_node_type is cache.t9.huge; allowed: cache.t3.micro",
                "celery_desired_count is 9; allowed: 1 to 5",
                "aws_region is us-est-1; allowed: ",
            ],
        ),
        ("celery_memory=1024", ["celery_memory is 1024 with celery_cpu 1024; Fargate allows with it: 2048"]),
        ("redis_automatic_failover_enabled=true", ["failover needs a replica", "redis_num_nodes"]),
        ("elasticache_transit_encryption_enabled=false", ["auth token over TLS only"]),
    ],
)
def test_wrong_values(console, extra, words):
    run = console.playbook(*SITE, "-e", extra, succeeds=False)
    for word in words:
        assert word in run.text
    assert "Nothing was touched" in run.text
    assert nothing_was_made(console)


def test_regions_of_every_partition_are_known(console):
    console.playbook(*SITE, "--tags", "always", "-e", "aws_region=us-gov-west-1")


def test_no_credentials(console, tmp_path):
    env = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    run = console.playbook(*SITE, succeeds=False, env=env)
    assert "There are no AWS credentials. Set AWS_PROFILE" in run.text
    assert nothing_was_made(console)


def test_sandbox_not_running(console):
    run = console.playbook(*SITE, succeeds=False, env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert "http://127.0.0.1:9 (AWS_ENDPOINT_URL) does not answer. Start the sandbox" in run.text


def test_tags_alone_on_nothing(console):
    run = console.playbook(*SITE, "--tags", "ecs_celery_worker", succeeds=False)
    assert "The network is not deployed yet" in run.text
    assert nothing_was_made(console)
