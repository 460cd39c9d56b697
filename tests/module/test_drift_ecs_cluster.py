"""Every option of ecs_cluster: changed by hand, seen as exactly that field, mended, nothing else moved."""

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "ecs_cluster"
NAME = "drift-cluster"
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-55555555555{}"
TAGS = {"Project": "nexus-learn", "Environment": "test"}
ARGUMENTS = {
    "name": NAME,
    "capacity_providers": ["FARGATE_SPOT", "FARGATE"],
    "default_capacity_provider_strategy": [
        {"capacity_provider": "FARGATE", "weight": 1, "base": 1},
        {"capacity_provider": "FARGATE_SPOT", "weight": 3},
    ],
    "container_insights": "enabled",
    "execute_command_configuration": {
        "kms_key_id": KEY.format(1),
        "logging": "OVERRIDE",
        "log_configuration": {
            "cloud_watch_log_group_name": "/exec",
            "cloud_watch_encryption_enabled": True,
            "s3_bucket_name": "exec",
            "s3_encryption_enabled": True,
            "s3_key_prefix": "sessions",
        },
    },
    "managed_storage_configuration": {
        "kms_key_id": KEY.format(2),
        "fargate_ephemeral_storage_kms_key_id": KEY.format(3),
    },
    "service_connect_defaults": {"namespace": "drift"},
    "tags": TAGS,
}
STRATEGY = [
    {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
    {"capacityProvider": "FARGATE_SPOT", "weight": 3},
]
LABEL = f"cluster {NAME}"


def providers(names, *strategy):
    return lambda ecs: ecs.put_cluster_capacity_providers(
        cluster=NAME, capacityProviders=names, defaultCapacityProviderStrategy=list(strategy)
    )


def configuration(*path, value):
    """One field of the cluster's configuration; without the field for None."""

    def change(ecs):
        (cluster,) = ecs.describe_clusters(clusters=[NAME], include=["CONFIGURATIONS"])["clusters"]
        group = cluster["configuration"]
        for step in path[:-1]:
            group = group[step]
        group[path[-1]] = value
        if value is None:
            del group[path[-1]]
        ecs.update_cluster(cluster=NAME, configuration=cluster["configuration"])

    return change


EXEC = "execute_command_configuration"
LOGS = f"{EXEC}.log_configuration"
STORAGE = "managed_storage_configuration"
LOG_PATH = ("executeCommandConfiguration", "logConfiguration")
WEIGHTS = "default_capacity_provider_strategy"


def tag(ecs):
    arn = ecs.describe_clusters(clusters=[NAME])["clusters"][0]["clusterArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "yes"}])


# option -> (what somebody does by hand, which fields a check names)
CASES = {
    "capacity_providers": (
        providers(["FARGATE"], STRATEGY[0]),
        {"capacity_providers", f"{WEIGHTS}.FARGATE_SPOT.weight", f"{WEIGHTS}.FARGATE_SPOT.base"},
    ),
    f"{WEIGHTS}.capacity_provider": (
        providers(["FARGATE", "FARGATE_SPOT"], STRATEGY[0]),
        {f"{WEIGHTS}.FARGATE_SPOT.weight", f"{WEIGHTS}.FARGATE_SPOT.base"},
    ),
    f"{WEIGHTS}.weight": (
        providers(["FARGATE", "FARGATE_SPOT"], STRATEGY[0], {**STRATEGY[1], "weight": 5}),
        {f"{WEIGHTS}.FARGATE_SPOT.weight"},
    ),
    f"{WEIGHTS}.base": (
        providers(["FARGATE", "FARGATE_SPOT"], {**STRATEGY[0], "base": 0}, STRATEGY[1]),
        {f"{WEIGHTS}.FARGATE.base"},
    ),
    "container_insights": (
        lambda ecs: ecs.update_cluster(cluster=NAME, settings=[{"name": "containerInsights", "value": "disabled"}]),
        {"container_insights"},
    ),
    f"{EXEC}.kms_key_id": (
        configuration("executeCommandConfiguration", "kmsKeyId", value=KEY.format(4)),
        {f"{EXEC}.kms_key_id"},
    ),
    f"{EXEC}.kms_key_id removed": (
        configuration("executeCommandConfiguration", "kmsKeyId", value=None),
        {f"{EXEC}.kms_key_id"},
    ),
    f"{EXEC}.logging": (
        configuration("executeCommandConfiguration", value={"kmsKeyId": KEY.format(1)}),
        {
            f"{EXEC}.logging",
            f"{LOGS}.cloud_watch_log_group_name",
            f"{LOGS}.cloud_watch_encryption_enabled",
            f"{LOGS}.s3_bucket_name",
            f"{LOGS}.s3_encryption_enabled",
            f"{LOGS}.s3_key_prefix",
        },
    ),
    f"{LOGS}.cloud_watch_log_group_name": (
        configuration(*LOG_PATH, "cloudWatchLogGroupName", value="/other"),
        {f"{LOGS}.cloud_watch_log_group_name"},
    ),
    f"{LOGS}.cloud_watch_encryption_enabled": (
        configuration(*LOG_PATH, "cloudWatchEncryptionEnabled", value=None),
        {f"{LOGS}.cloud_watch_encryption_enabled"},
    ),
    f"{LOGS}.s3_bucket_name": (
        configuration(*LOG_PATH, "s3BucketName", value="other"),
        {f"{LOGS}.s3_bucket_name"},
    ),
    f"{LOGS}.s3_encryption_enabled": (
        configuration(*LOG_PATH, "s3EncryptionEnabled", value=False),
        {f"{LOGS}.s3_encryption_enabled"},
    ),
    f"{LOGS}.s3_key_prefix": (configuration(*LOG_PATH, "s3KeyPrefix", value=None), {f"{LOGS}.s3_key_prefix"}),
    f"{STORAGE}.kms_key_id": (
        configuration("managedStorageConfiguration", "kmsKeyId", value=KEY.format(5)),
        {f"{STORAGE}.kms_key_id"},
    ),
    f"{STORAGE}.fargate_ephemeral_storage_kms_key_id": (
        configuration("managedStorageConfiguration", "fargateEphemeralStorageKmsKeyId", value=KEY.format(5)),
        {f"{STORAGE}.fargate_ephemeral_storage_kms_key_id"},
    ),
    "service_connect_defaults.namespace": (
        lambda ecs: ecs.update_cluster(cluster=NAME, serviceConnectDefaults={"namespace": "drift-other"}),
        {"service_connect_defaults.namespace"},
    ),
    "service_connect_defaults.namespace removed": (
        lambda ecs: ecs.update_cluster(cluster=NAME, serviceConnectDefaults={"namespace": ""}),
        {"service_connect_defaults.namespace"},
    ),
    "tags": (tag, {"tags.more"}),
    "name": (lambda ecs: ecs.delete_cluster(cluster=NAME), {"create"}),
}
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "wait_timeout": "how long this module waits",
}


@pytest.fixture(scope="module")
def ecs(sandbox):
    return sandbox.client("ecs")


@pytest.mark.parametrize(("change", "fields"), drift_cases(CASES))
def test_drift(module, ecs, change, fields):
    module(MODULE, ARGUMENTS)

    def snapshot():
        found = ecs.describe_clusters(clusters=[NAME], include=["TAGS", "SETTINGS", "CONFIGURATIONS"])["clusters"]
        (cluster,) = found
        for unordered in ("capacityProviders", "defaultCapacityProviderStrategy", "tags"):
            cluster[unordered].sort(key=str)
        return cluster

    drifts(module, MODULE, ARGUMENTS, snapshot, lambda: change(ecs), {(LABEL, field) for field in fields})


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
