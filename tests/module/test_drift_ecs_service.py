"""Every option of ecs_service: changed by hand, seen as exactly that field, mended, nothing else moved.

A service is drifted in as many fields at once as do not get into each other's way, and the services are deployed,
drifted, checked, mended and checked again together: a check must name these fields of each service and no other. They
run no tasks, so that each roll-out is over at once; what rolls out is tested elsewhere.
"""

import copy
from functools import partial

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ecs_examples import EXECUTION_ROLE, TAGS, Stack
from generated import every_option_drifts

MODULE = "ecs_service"
SSM = "arn:aws:ssm:us-east-1:123456789012:parameter/{}"
S3 = "arn:aws:s3:::settings/{}.env"
ROLE = "arn:aws:iam::123456789012:role/{}"
KEY = "arn:aws:kms:us-east-1:123456789012:key/{}"
LOG_OPTIONS = {"awslogs-group": "/g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
LOGS = {"log_driver": "awslogs", "options": LOG_OPTIONS, "secret_options": {"token": SSM.format("log")}}

CONTAINER = {
    "name": "main",
    "image": "busybox",
    "essential": True,
    "entry_point": ["sh"],
    "command": ["-c", "true"],
    "repository_credentials": {"credentials_parameter": "registry"},
    "environment": {"A": "1"},
    "environment_files": [S3.format("a"), S3.format("b")],
    "secrets": {"S": SSM.format("s")},
    "port_mappings": [
        {"container_port": 8000, "protocol": "tcp", "name": "web", "app_protocol": "http"},
        {"container_port": 8001, "protocol": "tcp", "name": "admin"},
    ],
    "restart_policy": {"enabled": True, "ignored_exit_codes": [3, 0], "restart_attempt_period": 60},
    "health_check": {"command": ["CMD", "true"], "interval": 10, "timeout": 4, "retries": 2, "start_period": 15},
    "stop_timeout": 60,
    "start_timeout": 20,
    "depends_on": [{"container_name": "side", "condition": "START"}],
    "log_configuration": LOGS,
    "linux_parameters": {
        "init_process_enabled": True,
        "capabilities": {"add": ["SYS_PTRACE"], "drop": ["NET_RAW", "CHOWN"]},
        "tmpfs": [{"container_path": "/run", "size": 64, "mount_options": ["noexec"]}],
    },
    "readonly_root_filesystem": True,
    "mount_points": [{"source_volume": "tmp", "container_path": "/tmp", "read_only": False}],
    "volumes_from": [{"source_container": "side", "read_only": True}],
    "user": "1000",
    "working_directory": "/srv",
    "ulimits": [{"name": "nofile", "soft_limit": 1024, "hard_limit": 2048}],
    "cpu": 100,
    "memory": 400,
    "memory_reservation": 200,
    "system_controls": {"net.ipv4.tcp_keepalive_time": "500"},
    "docker_labels": {"org.example.a_B": "c"},
    "version_consistency": "disabled",
    "interactive": True,
    "pseudo_terminal": True,
}
SIDECARS = [
    {"name": "side", "image": "busybox", "essential": False, "log_configuration": {"log_driver": "awsfirelens"}},
    {
        "name": "router",
        "image": "busybox",
        "essential": False,
        "firelens_configuration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}},
    },
]
EFS = {
    "file_system_id": "fs-1",
    "root_directory": "/",
    "transit_encryption": "ENABLED",
    "transit_encryption_port": 2999,
    "authorization_config": {"access_point_id": "ap-1", "iam": "ENABLED"},
}
S3_FILES = {
    "file_system_arn": "arn:aws:s3files:us-east-1:123456789012:file-system/fs-1",
    "root_directory": "/",
    "transit_encryption_port": 3000,
    "access_point_arn": "arn:aws:s3files:us-east-1:123456789012:file-system/fs-1/access-point/ap-1",
}
TASK = {
    "cpu": "256",
    "memory": "512",
    "execution_role_arn": EXECUTION_ROLE,
    "task_role_arn": ROLE.format("task"),
    "network_mode": "awsvpc",
    "requires_compatibilities": ["FARGATE"],
    "cpu_architecture": "ARM64",
    "operating_system_family": "LINUX",
    "ephemeral_storage_gib": 30,
    "pid_mode": "task",
    "enable_fault_injection": True,
    "volumes": [
        {"name": "tmp"},
        {"name": "shared", "efs_volume_configuration": EFS},
        {"name": "bucket", "s3files_volume_configuration": S3_FILES},
        {"name": "disk", "configured_at_launch": True},
    ],
    "containers": [CONTAINER, *SIDECARS],
}
EBS = {
    "role_arn": ROLE.format("disk"),
    "size_in_gib": 20,
    "snapshot_id": "snap-1",
    "volume_initialization_rate": 100,
    "volume_type": "gp3",
    "iops": 3000,
    "throughput": 125,
    "encrypted": True,
    "kms_key_id": KEY.format("disk"),
    "filesystem_type": "ext4",
    "tags": {"cost_Center": "a"},
    "propagate_tags": "SERVICE",
}
SERVICE = {
    "desired_count": 0,
    "capacity_provider_strategy": [
        {"capacity_provider": "FARGATE", "weight": 1, "base": 1},
        {"capacity_provider": "FARGATE_SPOT", "weight": 3},
    ],
    "platform_version": "LATEST",
    "assign_public_ip": False,
    "health_check_grace_period_seconds": 0,
    "minimum_healthy_percent": 100,
    "maximum_percent": 200,
    "circuit_breaker": {
        "enable": True,
        "rollback": True,
        "threshold_configuration": {"type": "COUNT", "value": 5},
        "reset_on_healthy_task": False,
    },
    "deployment_alarms": {"alarm_names": ["b", "a"], "enable": True, "rollback": True},
    "early_success_criteria": {"enable": True, "healthy_percent": 100, "source_service_revision_cleanup": "BLOCKING"},
    "service_connect_configuration": {
        "enabled": True,
        "services": [
            {
                "port_name": "web",
                "discovery_name": "api",
                "client_aliases": [{"port": 80, "dns_name": "api"}],
                "ingress_port_override": 9000,
                "timeout": {"idle_timeout_seconds": 0, "per_request_timeout_seconds": 30},
                "tls": {
                    "issuer_certificate_authority": {"aws_pca_authority_arn": "arn:aws:acm-pca:us-east-1:1:ca/1"},
                    "kms_key": KEY.format("connect"),
                    "role_arn": ROLE.format("connect"),
                },
            }
        ],
        "log_configuration": LOGS,
        "access_log_configuration": {"format": "JSON", "include_query_parameters": "ENABLED"},
        "log_level": "debug",
    },
    "volume_configurations": [{"name": "disk", "managed_ebs_volume": EBS}],
    "enable_ecs_managed_tags": True,
    "enable_execute_command": True,
    "propagate_tags": "SERVICE",
    "availability_zone_rebalancing": "DISABLED",
}


class Drift(Stack):
    """The stack with what services refer to: two target groups, two Cloud Map services, two namespaces."""

    def __init__(self, sandbox):
        super().__init__(sandbox)
        elb, cloud_map = sandbox.client("elbv2"), sandbox.client("servicediscovery")
        vpc = sandbox.client("ec2").describe_subnets(SubnetIds=self.subnets[:1])["Subnets"][0]["VpcId"]
        group = {"Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip"}
        self.groups = [
            elb.create_target_group(Name=f"{self.cluster}-{i}", **group)["TargetGroups"][0]["TargetGroupArn"]
            for i in (0, 1)
        ]
        (balancer,) = elb.create_load_balancer(Name=self.cluster, Subnets=self.subnets[:2])["LoadBalancers"]
        for port, arn in zip((8001, 8002), self.groups, strict=True):
            elb.create_listener(
                LoadBalancerArn=balancer["LoadBalancerArn"],
                Protocol="HTTP",
                Port=port,
                DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
            )
        self.namespaces = [f"{self.cluster}-{i}" for i in (0, 1)]
        for name in self.namespaces:
            cloud_map.create_http_namespace(Name=name)
        found = {item["Name"]: item["Id"] for item in cloud_map.list_namespaces()["Namespaces"]}
        self.registries = [
            cloud_map.create_service(Name=name, NamespaceId=found[name])["Service"]["Arn"] for name in self.namespaces
        ]
        self.secret = sandbox.client("secretsmanager").create_secret(Name=self.cluster, SecretString="x")["ARN"]

    def whole(self, name):
        """A service with everything that can be given at once."""
        service = {
            "name": name,
            **copy.deepcopy(SERVICE),
            "task_definition": {"family": f"{self.cluster}-{name}", **copy.deepcopy(TASK)},
            "subnets": self.subnets[:2],
            "security_groups": self.security_groups[:1],
            "load_balancers": [{"target_group_arn": self.groups[0], "container_name": "main", "container_port": 8000}],
            "service_registries": [
                {"registry_arn": self.registries[0], "container_name": "main", "container_port": 8000}
            ],
        }
        main = service["task_definition"]["containers"][0]
        main["secrets"]["FOLLOWED"], main["secret_versions"] = self.secret, ["FOLLOWED"]
        service["service_connect_configuration"]["namespace"] = self.namespaces[0]
        return service

    def by_launch_type(self, name):
        """What excludes something of the whole: launch type, port of a registry, an enforced count."""
        registries = [{"registry_arn": self.registries[0], "port": 53}]
        return self.service(name, desired_count=0, enforce_desired_count=True, service_registries=registries)


# by hand


def _set(*path_and_value):
    """A change of a document at a path, a key or an index at a time; None takes the field away."""
    *path, last, value = path_and_value

    def change(document):
        for step in path:
            document = document[step]
        if value is None:
            del document[last]
        else:
            document[last] = value

    return change


def _add(*path_and_value):
    *path, value = path_and_value

    def change(document):
        for step in path:
            document = document[step]
        document.append(value)

    return change


READ_ONLY = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
)


def revision(change):
    """Somebody changes the task definition; all changes of a service make one revision."""
    change.of_revision = True
    return change


def register(stack, name, *changes, **others):
    """Somebody registers a changed revision and puts the service on it, with ``others`` of UpdateService."""
    arn = stack.describe(name)["taskDefinition"]
    document = stack.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    for read_only in READ_ONLY:
        document.pop(read_only, None)
    for change in changes:
        change(document)
    # registered under the same tags, or these would be a difference of their own
    tags = [{"key": key, "value": value} for key, value in TAGS.items()]
    arn = stack.ecs.register_task_definition(**document, tags=tags)["taskDefinition"]["taskDefinitionArn"]
    stack.ecs.update_service(cluster=stack.cluster, service=name, taskDefinition=arn, **others)


def alone(drift):
    """What leaves no room for another drift of the same service."""
    drift.alone = True
    return drift


def main(*path_and_value):
    return revision(_set("containerDefinitions", 0, *path_and_value))


def main_add(*path_and_value):
    return revision(_add("containerDefinitions", 0, *path_and_value))


def service(arguments):
    """Somebody calls UpdateService; ``arguments`` is a dict or makes one of the stack.

    What is sent as a whole undoes what another drift did to a part of it: ``whole`` names it.
    """

    def drift(stack, name):
        given = arguments(stack) if callable(arguments) else arguments
        stack.ecs.update_service(cluster=stack.cluster, service=name, **given)

    drift.whole = str(arguments.__qualname__ if callable(arguments) else sorted(arguments))
    return drift


def deployment(*path_and_value):
    """Somebody changes one field of the deployment configuration."""

    def drift(stack, name):
        configuration = stack.describe(name)["deploymentConfiguration"]
        _set(*path_and_value)(configuration)
        stack.ecs.update_service(cluster=stack.cluster, service=name, deploymentConfiguration=configuration)

    return drift


def primary(key):
    """Somebody changes one field of what DescribeServices shows in the primary deployment only."""

    def with_path(*path_and_value):
        def drift(stack, name):
            configuration = stack.describe(name)["deployments"][0][key]
            _set(*path_and_value)(configuration)
            stack.ecs.update_service(cluster=stack.cluster, service=name, **{key: configuration})

        return drift

    return with_path


connect = primary("serviceConnectConfiguration")
connect_service = partial(connect, "services", 0)
disk = partial(primary("volumeConfigurations"), 0, "managedEBSVolume")


def network(**values):
    def network_configuration(stack):
        known = {"subnets": stack.subnets[:2], "securityGroups": stack.security_groups[:1]}
        chosen = {key: value(stack) if callable(value) else value for key, value in values.items()}
        return {"networkConfiguration": {"awsvpcConfiguration": {**known, "assignPublicIp": "DISABLED", **chosen}}}

    return service(network_configuration)


def strategy(*items):
    keys = ("capacityProvider", "weight", "base")
    return service({"capacityProviderStrategy": [dict(zip(keys, item, strict=False)) for item in items]})


def balancer(**values):
    def load_balancers(stack):
        known = {"targetGroupArn": stack.groups[0], "containerName": "main", "containerPort": 8000}
        return {"loadBalancers": [{**known, **{key: value(stack) for key, value in values.items()}}]}

    return service(load_balancers)


def registry(arn=0, **values):
    def service_registries(stack):
        return {"serviceRegistries": [{"registryArn": stack.registries[arn], **values}]}

    return service(service_registries)


def tag(of):
    def drift(stack, name):
        arn = stack.describe(name)[of]
        stack.ecs.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "yes"}])

    return drift


@alone
def delete(stack, name):
    stack.ecs.delete_service(cluster=stack.cluster, service=name, force=True)


@alone
def put_on_another_family(stack, name):
    register(stack, name, lambda document: document.update(family=f"{document['family']}-other"))


@alone
def configure_no_volume(stack, name):
    """A volume that is no longer configured at launch takes its configuration with it."""
    register(stack, name, _set("volumes", 3, "configuredAtLaunch", False), volumeConfigurations=[])


@alone
def complete_earlier(stack, name):
    """Not below the healthy minimum, which is 100: somebody lowers both."""
    deployment("minimumHealthyPercent", 50)(stack, name)
    deployment("earlySuccessCriteria", "healthyPercent", 60)(stack, name)


def use_another_namespace(stack, name):
    connect("namespace", stack.namespaces[1])(stack, name)


# option -> (how somebody drifts a service, the fields that a check names; ``x.*`` stands for all below x)
T = "task_definition"
C = "task_definition.containers"
CONNECT, WEB = "service_connect_configuration", "service_connect_configuration.services.web"
DISK = "volume_configurations.disk.managed_ebs_volume"
LINUX = "linux_parameters"
EFS_FIELD, S3_FIELD = "volumes.efs_volume_configuration", "volumes.s3files_volume_configuration"

IN_MAIN = {
    "image": (main("image", "busybox:old"), "image"),
    "entry_point": (main("entryPoint", ["sh", "-x"]), "entry_point"),
    "command": (main("command", ["true", "-c"]), "command"),
    "repository_credentials.credentials_parameter": (
        main("repositoryCredentials", "credentialsParameter", "other"),
        "repository_credentials.credentials_parameter",
    ),
    "environment": (main("environment", 0, "value", "2"), "environment.A"),
    "environment added": (main_add("environment", {"name": "B", "value": ""}), "environment.B"),
    "environment removed": (alone(main("environment", [])), "environment.A"),
    "environment_files": (
        main("environmentFiles", [{"value": S3.format(x), "type": "s3"} for x in "ba"]),
        "environment_files",
    ),
    "secrets": (main("secrets", 0, "valueFrom", SSM.format("t")), "secrets.S"),
    "secret_versions": (main("dockerLabels", "secret-version/FOLLOWED", "x"), "docker_labels.secret-version/FOLLOWED"),
    "port_mappings.name": (main("portMappings", 1, "name", None), "port_mappings.8001/tcp.name"),
    "port_mappings.container_port": (
        alone(main("portMappings", 1, None)),
        *(f"port_mappings.8001/tcp.{field}" for field in ("container_port", "host_port", "protocol", "name")),
    ),
    "port_mappings.protocol": (
        main_add("portMappings", {"containerPort": 8000, "protocol": "udp"}),
        "port_mappings.8000/udp",
    ),
    "port_mappings.app_protocol": (
        main("portMappings", 0, "appProtocol", "grpc"),
        "port_mappings.8000/tcp.app_protocol",
    ),
    "restart_policy.enabled": (main("restartPolicy", "enabled", False), "restart_policy.enabled"),
    "restart_policy.ignored_exit_codes": (
        main("restartPolicy", "ignoredExitCodes", [0]),
        "restart_policy.ignored_exit_codes",
    ),
    "restart_policy.restart_attempt_period": (
        main("restartPolicy", "restartAttemptPeriod", None),
        "restart_policy.restart_attempt_period",
    ),
    "health_check.command": (main("healthCheck", "command", ["CMD", "false"]), "health_check.command"),
    "health_check.interval": (main("healthCheck", "interval", 30), "health_check.interval"),
    "health_check.timeout": (main("healthCheck", "timeout", 5), "health_check.timeout"),
    "health_check.retries": (main("healthCheck", "retries", 3), "health_check.retries"),
    "health_check.start_period": (main("healthCheck", "startPeriod", 0), "health_check.start_period"),
    "stop_timeout": (main("stopTimeout", 30), "stop_timeout"),
    "start_timeout": (main("startTimeout", 30), "start_timeout"),
    "depends_on.container_name": (
        main_add("dependsOn", {"containerName": "router", "condition": "START"}),
        "depends_on.router",
    ),
    "depends_on.condition": (main("dependsOn", 0, "condition", "COMPLETE"), "depends_on.side"),
    "log_configuration.log_driver": (main("logConfiguration", "logDriver", "splunk"), "log_configuration.log_driver"),
    "log_configuration.options": (
        main("logConfiguration", "options", "awslogs-group", "/other"),
        "log_configuration.options.awslogs-group",
    ),
    "log_configuration.secret_options": (
        main("logConfiguration", "secretOptions", 0, "valueFrom", SSM.format("t")),
        "log_configuration.secret_options.token",
    ),
    f"{LINUX}.init_process_enabled": (
        main("linuxParameters", "initProcessEnabled", False),
        f"{LINUX}.init_process_enabled",
    ),
    f"{LINUX}.capabilities.add": (
        main("linuxParameters", "capabilities", "add", None),
        f"{LINUX}.capabilities.add",
    ),
    f"{LINUX}.capabilities.drop": (
        main("linuxParameters", "capabilities", "drop", ["ALL"]),
        f"{LINUX}.capabilities.drop",
    ),
    f"{LINUX}.tmpfs.container_path": (
        main_add("linuxParameters", "tmpfs", {"containerPath": "/more", "size": 1}),
        f"{LINUX}.tmpfs./more",
    ),
    f"{LINUX}.tmpfs.size": (main("linuxParameters", "tmpfs", 0, "size", 32), f"{LINUX}.tmpfs./run.size"),
    f"{LINUX}.tmpfs.mount_options": (
        main("linuxParameters", "tmpfs", 0, "mountOptions", ["exec"]),
        f"{LINUX}.tmpfs./run.mount_options",
    ),
    "readonly_root_filesystem": (main("readonlyRootFilesystem", False), "readonly_root_filesystem"),
    "mount_points.container_path": (
        main_add("mountPoints", {"sourceVolume": "shared", "containerPath": "/more"}),
        "mount_points./more",
    ),
    "mount_points.source_volume": (
        main("mountPoints", 0, "sourceVolume", "shared"),
        "mount_points./tmp.source_volume",
    ),
    "mount_points.read_only": (main("mountPoints", 0, "readOnly", True), "mount_points./tmp.read_only"),
    "volumes_from.source_container": (
        main_add("volumesFrom", {"sourceContainer": "router"}),
        "volumes_from.router",
    ),
    "volumes_from.read_only": (main("volumesFrom", 0, "readOnly", False), "volumes_from.side.read_only"),
    "user": (main("user", "0"), "user"),
    "working_directory": (main("workingDirectory", "/"), "working_directory"),
    "ulimits.name": (main_add("ulimits", {"name": "nproc", "softLimit": 1, "hardLimit": 2}), "ulimits.nproc"),
    "ulimits.soft_limit": (main("ulimits", 0, "softLimit", 512), "ulimits.nofile.soft_limit"),
    "ulimits.hard_limit": (main("ulimits", 0, "hardLimit", 4096), "ulimits.nofile.hard_limit"),
    "cpu": (main("cpu", 50), "cpu"),
    "memory": (main("memory", 300), "memory"),
    "memory_reservation": (main("memoryReservation", 100), "memory_reservation"),
    "system_controls": (
        main("systemControls", 0, "value", "600"),
        "system_controls.net.ipv4.tcp_keepalive_time",
    ),
    "docker_labels": (main("dockerLabels", "org.example.a_B", "d"), "docker_labels.org.example.a_B"),
    "docker_labels added": (main("dockerLabels", "more", "d"), "docker_labels.more"),
    "version_consistency": (main("versionConsistency", None), "version_consistency"),
    "interactive": (main("interactive", False), "interactive"),
    "pseudo_terminal": (main("pseudoTerminal", None), "pseudo_terminal"),
}


def efs(*path_and_value):
    return revision(_set("volumes", 1, "efsVolumeConfiguration", *path_and_value))


def s3_files(*path_and_value):
    return revision(_set("volumes", 2, "s3filesVolumeConfiguration", *path_and_value))


def router(*path_and_value):
    return revision(_set("containerDefinitions", 2, "firelensConfiguration", *path_and_value))


IN_TASK = {
    "family": (put_on_another_family, "family"),
    "cpu": (revision(lambda document: document.update(cpu="512", memory="1024")), "cpu", "memory"),
    "memory": (alone(revision(_set("memory", "1024"))), "memory"),
    "execution_role_arn": (revision(_set("executionRoleArn", f"{EXECUTION_ROLE}-other")), "execution_role_arn"),
    "task_role_arn": (revision(_set("taskRoleArn", ROLE.format("other"))), "task_role_arn"),
    "cpu_architecture": (revision(_set("runtimePlatform", "cpuArchitecture", "X86_64")), "cpu_architecture"),
    "operating_system_family": (
        revision(_set("runtimePlatform", "operatingSystemFamily", "WINDOWS_SERVER_2022_CORE")),
        "operating_system_family",
    ),
    "ephemeral_storage_gib": (revision(_set("ephemeralStorage", None)), "ephemeral_storage_gib"),
    "requires_compatibilities": (
        revision(_set("requiresCompatibilities", ["EC2", "FARGATE"])),
        "requires_compatibilities",
    ),
    "pid_mode": (revision(_set("pidMode", None)), "pid_mode"),
    "enable_fault_injection": (revision(_set("enableFaultInjection", False)), "enable_fault_injection"),
    "volumes.name": (revision(_add("volumes", {"name": "more"})), "volumes.more"),
    "volumes.configured_at_launch": (
        configure_no_volume,
        "volumes.disk.configured_at_launch",
        "/volume_configurations.disk.*",
    ),
    "containers.name": (
        revision(_add("containerDefinitions", {"name": "more", "image": "busybox"})),
        "containers.more",
    ),
    "containers.essential": (
        alone(revision(_set("containerDefinitions", 1, "essential", True))),
        "containers.side.essential",
    ),
    "containers.firelens_configuration.type": (
        router("type", "fluentd"),
        "containers.router.firelens_configuration.type",
    ),
    "containers.firelens_configuration.options": (
        router("options", "enable-ecs-log-metadata", "false"),
        "containers.router.firelens_configuration.options.enable-ecs-log-metadata",
    ),
    f"{EFS_FIELD}.file_system_id": (efs("fileSystemId", "fs-2"), "file_system_id"),
    f"{EFS_FIELD}.root_directory": (efs("rootDirectory", "/x"), "root_directory"),
    f"{EFS_FIELD}.transit_encryption": (efs("transitEncryption", "DISABLED"), "transit_encryption"),
    f"{EFS_FIELD}.transit_encryption_port": (efs("transitEncryptionPort", None), "transit_encryption_port"),
    f"{EFS_FIELD}.authorization_config.access_point_id": (
        efs("authorizationConfig", "accessPointId", "ap-2"),
        "authorization_config.access_point_id",
    ),
    f"{EFS_FIELD}.authorization_config.iam": (efs("authorizationConfig", "iam", None), "authorization_config.iam"),
    f"{S3_FIELD}.file_system_arn": (s3_files("fileSystemArn", f"{S3_FILES['file_system_arn']}2"), "file_system_arn"),
    f"{S3_FIELD}.root_directory": (s3_files("rootDirectory", "/x"), "root_directory"),
    f"{S3_FIELD}.transit_encryption_port": (s3_files("transitEncryptionPort", None), "transit_encryption_port"),
    f"{S3_FIELD}.access_point_arn": (s3_files("accessPointArn", None), "access_point_arn"),
}
for prefix, volume in ((EFS_FIELD, "shared"), (S3_FIELD, "bucket")):
    for option in [option for option in IN_TASK if option.startswith(prefix)]:
        change, field = IN_TASK[option]
        IN_TASK[option] = (change, f"{prefix.replace('volumes', f'volumes.{volume}')}.{field}")

IN_CONNECT = {
    "enabled": (alone(service({"serviceConnectConfiguration": {"enabled": False}})), f"{CONNECT}.*"),
    "namespace": (use_another_namespace, f"{CONNECT}.namespace"),
    "services.port_name": (connect("services", None), f"{WEB}.*"),
    "services.discovery_name": (connect_service("discoveryName", None), f"{WEB}.discovery_name"),
    "services.client_aliases.port": (connect_service("clientAliases", 0, "port", 81), f"{WEB}.client_aliases"),
    "services.client_aliases.dns_name": (
        connect_service("clientAliases", 0, "dnsName", "other"),
        f"{WEB}.client_aliases",
    ),
    "services.ingress_port_override": (connect_service("ingressPortOverride", None), f"{WEB}.ingress_port_override"),
    "services.timeout.idle_timeout_seconds": (
        connect_service("timeout", "idleTimeoutSeconds", 60),
        f"{WEB}.timeout.idle_timeout_seconds",
    ),
    "services.timeout.per_request_timeout_seconds": (
        connect_service("timeout", "perRequestTimeoutSeconds", None),
        f"{WEB}.timeout.per_request_timeout_seconds",
    ),
    "services.tls.issuer_certificate_authority.aws_pca_authority_arn": (
        connect_service("tls", "issuerCertificateAuthority", "awsPcaAuthorityArn", "arn:aws:acm-pca:us-east-1:1:ca/2"),
        f"{WEB}.tls.issuer_certificate_authority.aws_pca_authority_arn",
    ),
    "services.tls.kms_key": (connect_service("tls", "kmsKey", None), f"{WEB}.tls.kms_key"),
    "services.tls.role_arn": (connect_service("tls", "roleArn", ROLE.format("other")), f"{WEB}.tls.role_arn"),
    "log_configuration.log_driver": (
        connect("logConfiguration", "logDriver", "splunk"),
        f"{CONNECT}.log_configuration.log_driver",
    ),
    "log_configuration.options": (
        connect("logConfiguration", "options", "more", "yes"),
        f"{CONNECT}.log_configuration.options.more",
    ),
    "log_configuration.secret_options": (
        connect("logConfiguration", "secretOptions", None),
        f"{CONNECT}.log_configuration.secret_options.token",
    ),
    "access_log_configuration.format": (
        connect("accessLogConfiguration", "format", "TEXT"),
        f"{CONNECT}.access_log_configuration.format",
    ),
    "access_log_configuration.include_query_parameters": (
        connect("accessLogConfiguration", "includeQueryParameters", None),
        f"{CONNECT}.access_log_configuration.include_query_parameters",
    ),
    "log_level": (connect("containerConfigurations", None), f"{CONNECT}.log_level"),
}
IN_DISK = {
    "role_arn": (disk("roleArn", ROLE.format("other")), f"{DISK}.role_arn"),
    "size_in_gib": (disk("sizeInGiB", 30), f"{DISK}.size_in_gib"),
    "snapshot_id": (disk("snapshotId", "snap-2"), f"{DISK}.snapshot_id"),
    "volume_initialization_rate": (disk("volumeInitializationRate", None), f"{DISK}.volume_initialization_rate"),
    "volume_type": (disk("volumeType", None), f"{DISK}.volume_type"),
    "iops": (disk("iops", 4000), f"{DISK}.iops"),
    "throughput": (disk("throughput", 250), f"{DISK}.throughput"),
    "encrypted": (disk("encrypted", False), f"{DISK}.encrypted"),
    "kms_key_id": (disk("kmsKeyId", None), f"{DISK}.kms_key_id"),
    "filesystem_type": (disk("filesystemType", "xfs"), f"{DISK}.filesystem_type"),
    "tags": (disk("tagSpecifications", 0, "tags", 0, "value", "b"), f"{DISK}.tags.cost_Center"),
    "propagate_tags": (disk("tagSpecifications", 0, "propagateTags", None), f"{DISK}.propagate_tags"),
}
BREAKER = "deploymentCircuitBreaker"
CPS = "capacity_provider_strategy"
IN_SERVICE = {
    "name": (delete, "create"),
    "subnets": (network(subnets=lambda s: s.subnets[2:3]), "subnets"),
    "security_groups": (network(securityGroups=lambda s: s.security_groups), "security_groups"),
    "assign_public_ip": (network(assignPublicIp="ENABLED"), "assign_public_ip"),
    f"{CPS}.capacity_provider": (strategy(("FARGATE", 1, 1)), f"{CPS}.FARGATE_SPOT.weight", f"{CPS}.FARGATE_SPOT.base"),
    f"{CPS}.weight": (strategy(("FARGATE", 1, 1), ("FARGATE_SPOT", 1)), f"{CPS}.FARGATE_SPOT.weight"),
    f"{CPS}.base": (strategy(("FARGATE", 1), ("FARGATE_SPOT", 3)), f"{CPS}.FARGATE.base"),
    "platform_version": (service({"platformVersion": "1.4.0"}), "platform_version"),
    "load_balancers.target_group_arn": (balancer(targetGroupArn=lambda s: s.groups[1]), "load_balancers"),
    "load_balancers.container_port": (balancer(containerPort=lambda _: 8001), "load_balancers"),
    "load_balancers.container_name": (service({"loadBalancers": []}), "load_balancers"),
    "service_registries.registry_arn": (registry(1, containerName="main", containerPort=8000), "service_registries"),
    "service_registries.container_name": (registry(containerName="side", containerPort=8000), "service_registries"),
    "service_registries.container_port": (registry(containerName="main", containerPort=9), "service_registries"),
    "health_check_grace_period_seconds": (
        service({"healthCheckGracePeriodSeconds": 9}),
        "health_check_grace_period_seconds",
    ),
    "minimum_healthy_percent": (deployment("minimumHealthyPercent", 50), "minimum_healthy_percent"),
    "maximum_percent": (deployment("maximumPercent", 150), "maximum_percent"),
    "circuit_breaker.enable": (deployment(BREAKER, "enable", False), "circuit_breaker.enable"),
    "circuit_breaker.rollback": (deployment(BREAKER, "rollback", False), "circuit_breaker.rollback"),
    "circuit_breaker.threshold_configuration.type": (
        deployment(BREAKER, "thresholdConfiguration", "type", "UNBOUNDED_PERCENT"),
        "circuit_breaker.threshold_configuration.type",
    ),
    "circuit_breaker.threshold_configuration.value": (
        deployment(BREAKER, "thresholdConfiguration", "value", 9),
        "circuit_breaker.threshold_configuration.value",
    ),
    "circuit_breaker.reset_on_healthy_task": (
        deployment(BREAKER, "resetOnHealthyTask", True),
        "circuit_breaker.reset_on_healthy_task",
    ),
    "deployment_alarms.alarm_names": (deployment("alarms", "alarmNames", ["a"]), "deployment_alarms.alarm_names"),
    "deployment_alarms.enable": (deployment("alarms", "enable", False), "deployment_alarms.enable"),
    "deployment_alarms.rollback": (deployment("alarms", "rollback", False), "deployment_alarms.rollback"),
    "early_success_criteria.enable": (
        alone(deployment("earlySuccessCriteria", {"enable": False})),
        "early_success_criteria.*",
    ),
    "early_success_criteria.healthy_percent": (
        complete_earlier,
        "early_success_criteria.healthy_percent",
        "minimum_healthy_percent",
    ),
    "early_success_criteria.source_service_revision_cleanup": (
        deployment("earlySuccessCriteria", "sourceServiceRevisionCleanup", "DEFERRED"),
        "early_success_criteria.source_service_revision_cleanup",
    ),
    "enable_ecs_managed_tags": (service({"enableECSManagedTags": False}), "enable_ecs_managed_tags"),
    "enable_execute_command": (service({"enableExecuteCommand": False}), "enable_execute_command"),
    "propagate_tags": (service({"propagateTags": "TASK_DEFINITION"}), "propagate_tags"),
    "availability_zone_rebalancing": (
        service({"availabilityZoneRebalancing": "ENABLED"}),
        "availability_zone_rebalancing",
    ),
}
# of a service without the options that exclude these
BY_LAUNCH_TYPE = {
    "launch_type": (strategy(("FARGATE", 1)), "launch_type", f"{CPS}.FARGATE"),
    "service_registries.port": (registry(port=54), "service_registries"),
    "desired_count": (service({"desiredCount": 1}), "desired_count"),
}


def cases():
    """option -> (drift, the fields in the plan, whether it is of ``by_launch_type``)"""
    found = {
        **{f"{C}.{o}": (drift, *(f"{C}.main.{f}" for f in fields)) for o, (drift, *fields) in IN_MAIN.items()},
        **{
            f"{T}.{option}": (drift, *(f[1:] if f[0] == "/" else f"{T}.{f}" for f in fields))
            for option, (drift, *fields) in IN_TASK.items()
        },
        **{f"{CONNECT}.{option}": case for option, case in IN_CONNECT.items()},
        **{f"volume_configurations.managed_ebs_volume.{option}": case for option, case in IN_DISK.items()},
        **IN_SERVICE,
    }
    result = {f"services.{option}": (drift, fields, False) for option, (drift, *fields) in found.items()}
    result |= {f"services.{option}": (drift, fields, True) for option, (drift, *fields) in BY_LAUNCH_TYPE.items()}
    result["tags"] = (tag("serviceArn"), ["tags.more"], False)
    # a revision's tags need no new revision, so they are named only where none is due
    result["tags revision"] = (alone(tag("taskDefinition")), [f"{T}.tags.more"], False)
    return result


CASES = cases()


def overlap(one, other):
    """Whether two fields are the same, or one is a group that holds the other."""
    pairs = ((one, other), (other, one))
    return any(a == b or b.startswith((f"{a.removesuffix('.*')}.", f"{a}.")) for a, b in pairs)


def fit(drift, fields, by_launch_type, others):
    """Whether a case can drift a service that ``others`` drift: no shared field, and nothing undone as a whole."""
    return (
        not any(hasattr(one, "alone") for one in (drift, *(other[0] for other in others)))
        and all(other[2] == by_launch_type for other in others)
        and not any(getattr(other[0], "whole", 0) == getattr(drift, "whole", 1) for other in others)
        and not any(overlap(field, taken) for field in fields for other in others for taken in other[1])
    )


def packed():
    services = []
    for option, case in CASES.items():
        room = next((service for service in services if fit(*case, [CASES[other] for other in service])), None)
        if room is None:
            services.append([option])
        else:
            room.append(option)
    return services


SERVICES = {f"drift-{index}": options for index, options in enumerate(packed())}
NAMES = {option: name for name, options in SERVICES.items() for option in options}
NO_FIELD = {
    "cluster": "says where the services are",
    "keep": "says which services a pattern leaves alone",
    "wait": "whether this module waits",
    "wait_timeout": "how long this module waits",
    "force": "how this module deletes",
    "state": "says whether there are to be services at all",
    "services.enforce_desired_count": "says whether the count is held",
    "services.run_task_before.command": "is done once, before a revision is deployed",
    "services.run_task_before.container": "as above",
    "services.run_task_before.wait_timeout": "as above",
    f"services.{T}.network_mode": "Fargate knows only one, and ECS puts these services on no revision with another",
    "services.volume_configurations.name": "ECS refuses a name that is no volume to be configured, and there is one",
}


@pytest.fixture(scope="module")
def stack(sandbox):
    return Drift(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.05)


@pytest.fixture(scope="module")
def results():
    return {}


VOLATILE = {
    "events", "deployments", "createdAt", "taskDefinition", "currentServiceDeployment", "currentServiceRevisions",
    "runningCount", "pendingCount",
}  # fmt: skip


def snapshot(stack, names):
    """Everything about the services and their revisions, without times and numbers of revisions."""
    found = {}
    for start in range(0, len(names), 10):
        some = stack.ecs.describe_services(cluster=stack.cluster, services=names[start : start + 10], include=["TAGS"])
        for one in some["services"]:
            answer = stack.ecs.describe_task_definition(taskDefinition=one["taskDefinition"], include=["TAGS"])
            definition = {k: v for k, v in answer["taskDefinition"].items() if k not in READ_ONLY}
            first = {k: v for k, v in one["deployments"][0].items() if k.endswith(("Configuration", "Configurations"))}
            found[one["serviceName"]] = (
                _ordered({key: value for key, value in one.items() if key not in VOLATILE}),
                first,
                _ordered(definition),
                sorted(answer["tags"], key=str),
            )
    return found


def _ordered(value):
    """A document with every list of objects in one order: nobody has given it one."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted((_ordered(item) for item in value), key=str)
    return value


def arguments(stack):
    return stack.args(
        *(
            stack.by_launch_type(name) if CASES[options[0]][2] else stack.whole(name)
            for name, options in SERVICES.items()
        )
    )


@pytest.fixture
def drifted(module, stack, results):
    """All services deployed, drifted, checked, mended and checked again; made once."""
    if not results:
        args, names = arguments(stack), list(SERVICES)
        module(MODULE, args)
        results["before"] = snapshot(stack, names)
        for name, options in SERVICES.items():
            drifts = [CASES[option][0] for option in options]
            changes = [drift for drift in drifts if hasattr(drift, "of_revision")]
            if changes:
                register(stack, name, *changes)
            for drift in drifts:
                if drift not in changes:
                    drift(stack, name)
        for step, check in (("foretold", True), ("done", False), ("left", True)):
            results[step] = {}
            for change in module(MODULE, args, check=check)["changes"]:
                results[step].setdefault(change["resource"], []).append(change)
        results["after"] = snapshot(stack, names)
    return results


@pytest.mark.parametrize("option", CASES, ids=lambda option: option.replace(" ", "-"))
def test_drift_is_seen(drifted, option):
    found = paths(drifted, NAMES[option])
    assert all(any(overlap(field, path) for path in found) for field in CASES[option][1])


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_else_is_named_and_all_is_mended(drifted, name):
    expected = [field for option in SERVICES[name] for field in CASES[option][1]]
    assert {path for path in paths(drifted, name) if not any(overlap(field, path) for field in expected)} == set()
    label = f"service {name}"
    assert drifted["done"][label] == drifted["foretold"][label]
    assert label not in drifted["left"]
    assert drifted["after"][name] == drifted["before"][name]


def paths(drifted, name):
    return {change["path"] or change["action"] for change in drifted["foretold"][f"service {name}"]}


def test_every_option_has_a_case(stack):
    every_option_drifts(MODULE, CASES, NO_FIELD, arguments(stack))
