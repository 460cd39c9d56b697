"""Pairs of services before and after: what a check says is what a run does. They run no tasks."""

import json
from itertools import count

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ecs_examples import EXECUTION_ROLE, TAGS, Stack
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

ARNS = st.sampled_from([f"arn:aws:ssm:us-east-1:123456789012:parameter/{name}" for name in "ab"])
KEYS = st.sampled_from([f"arn:aws:kms:us-east-1:123456789012:key/{name}" for name in "ab"])
ROLES = st.sampled_from([f"arn:aws:iam::123456789012:role/{name}" for name in "ab"])
WORDS = st.sampled_from(["a", "b c", "d=1"])
NAMES = st.sampled_from(["A", "A_B", "Ab"])
SWITCH = st.sampled_from(["ENABLED", "DISABLED"])


def some(required=(), **fields):
    """Options of which each may be left out, but for the ``required`` ones."""
    must = {name: fields.pop(name) for name in required}
    return st.fixed_dictionaries(must, optional=fields)


def several(item, key, **more):
    return st.lists(item, unique_by=lambda one: one[key], max_size=2, **more)


LOGS = some(
    ["log_driver"],
    log_driver=st.just("splunk"),
    options=st.dictionaries(NAMES, WORDS, max_size=2),
    secret_options=st.dictionaries(NAMES, ARNS, max_size=2),
)
PORTS = st.sampled_from(
    [
        [{"container_port": 8000, "name": "web"}, {"container_port": 53, "protocol": "udp"}],
        [{"container_port": 8000, "name": "web", "app_protocol": "http"}],
        [{"container_port": 53, "protocol": "udp"}, {"container_port": 8000, "name": "web", "protocol": "tcp"}],
    ]
)
CONTAINER = some(
    ["image", "port_mappings"],
    image=st.sampled_from(["busybox", "busybox:old"]),
    port_mappings=PORTS,
    entry_point=st.lists(WORDS, max_size=2),
    command=st.lists(WORDS, max_size=2),
    repository_credentials=st.fixed_dictionaries({"credentials_parameter": ARNS}),
    environment=st.dictionaries(NAMES, st.sampled_from(["", "x", 1, True]), max_size=2),
    environment_files=st.lists(st.sampled_from(["arn:aws:s3:::b/a.env", "arn:aws:s3:::b/b.env"]), max_size=2),
    secrets=st.dictionaries(st.sampled_from(["S", "T"]), ARNS, max_size=2),
    restart_policy=some(
        ["enabled"],
        enabled=st.booleans(),
        ignored_exit_codes=st.lists(st.integers(0, 3), unique=True),
        restart_attempt_period=st.sampled_from([60, 300]),
    ),
    health_check=some(
        ["command"],
        command=st.just(["CMD", "true"]),
        interval=st.sampled_from([10, 30]),
        timeout=st.sampled_from([5, 9]),
        retries=st.integers(2, 3),
        start_period=st.sampled_from([0, 9]),
    ),
    stop_timeout=st.sampled_from([30, 120]),
    start_timeout=st.sampled_from([20, 30]),
    depends_on=st.just([{"container_name": "side", "condition": "START"}]),
    log_configuration=LOGS,
    linux_parameters=some(
        init_process_enabled=st.booleans(),
        capabilities=some(
            add=st.sampled_from([[], ["SYS_PTRACE"]]), drop=st.lists(st.sampled_from(["CHOWN", "KILL"]), unique=True)
        ),
        tmpfs=several(
            some(
                ["container_path", "size"],
                container_path=st.sampled_from(["/run", "/x"]),
                size=st.integers(1, 2),
                mount_options=st.lists(st.sampled_from(["ro", "noexec"]), unique=True),
            ),
            "container_path",
        ),
    ),
    readonly_root_filesystem=st.booleans(),
    mount_points=several(
        some(
            ["source_volume", "container_path"],
            source_volume=st.just("tmp"),
            container_path=st.sampled_from(["/tmp", "/x"]),
            read_only=st.booleans(),
        ),
        "container_path",
    ),
    volumes_from=several(some(["source_container"], source_container=st.just("side"), read_only=st.booleans()),
                         "source_container"),
    user=st.sampled_from(["0", "1000"]),
    working_directory=st.sampled_from(["/", "/srv"]),
    ulimits=several(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["nofile", "nproc"]),
                "soft_limit": st.integers(1, 2),
                "hard_limit": st.integers(2, 3),
            }
        ),
        "name",
    ),
    cpu=st.sampled_from([0, 100]),
    memory=st.sampled_from([300, 400]),
    memory_reservation=st.sampled_from([100, 200]),
    system_controls=st.dictionaries(st.sampled_from(["net.core.somaxconn"]), st.sampled_from(["1", 2])),
    docker_labels=st.dictionaries(NAMES, WORDS, max_size=2),
    version_consistency=st.sampled_from(["enabled", "disabled"]),
    interactive=st.booleans(),
    pseudo_terminal=st.booleans(),
)  # fmt: skip
SIDE = {"name": "side", "image": "busybox", "essential": False}
ROUTED = {**SIDE, "log_configuration": {"log_driver": "awsfirelens", "options": {"Name": "a"}}}
SIDECARS = st.sampled_from(
    [
        [SIDE],
        [{**SIDE, "essential": True}],
        *(
            [ROUTED, {**SIDE, "name": "router", "firelens_configuration": {"type": kind, **options}}]
            for kind, options in (("fluentbit", {}), ("fluentd", {"options": {"enable-ecs-log-metadata": True}}))
        ),
    ]
)
EFS = some(
    ["file_system_id"],
    file_system_id=st.sampled_from(["fs-1", "fs-2"]),
    root_directory=st.sampled_from(["/", "/x"]),
    transit_encryption=SWITCH,
    transit_encryption_port=st.just(2999),
    authorization_config=some(access_point_id=st.just("ap"), iam=SWITCH),
)
S3_FILES = some(
    ["file_system_arn"],
    file_system_arn=ARNS,
    root_directory=st.sampled_from(["/", "/x"]),
    transit_encryption_port=st.just(3000),
    access_point_arn=ARNS,
)
VOLUMES = st.one_of(
    st.just([]),
    EFS.map(lambda efs: [{"name": "shared", "efs_volume_configuration": efs}]),
    S3_FILES.map(lambda files: [{"name": "shared", "s3files_volume_configuration": files}]),
    st.just([{"name": "disk", "configured_at_launch": True}, {"name": "more"}]),
)
TASK = some(
    ["volumes", "side", "main"],
    volumes=VOLUMES,
    side=SIDECARS,
    main=CONTAINER,
    task_role_arn=ROLES,
    cpu_architecture=st.sampled_from(["X86_64", "ARM64"]),
    operating_system_family=st.just("LINUX"),
    ephemeral_storage_gib=st.sampled_from([21, 30]),
    pid_mode=st.just("task"),
    enable_fault_injection=st.booleans(),
)
CONNECT = st.one_of(
    st.just({"enabled": False}),
    some(
        ["enabled", "namespace"],
        enabled=st.just(True),
        namespace=st.integers(0, 1),
        services=st.lists(
            some(
                ["port_name"],
                port_name=st.just("web"),
                discovery_name=st.sampled_from(["web", "api"]),
                client_aliases=st.lists(
                    some(["port"], port=st.integers(80, 81), dns_name=st.just("api")), min_size=1, max_size=1
                ),
                ingress_port_override=st.just(9000),
                timeout=some(idle_timeout_seconds=st.integers(0, 1), per_request_timeout_seconds=st.integers(0, 1)),
                tls=some(
                    ["issuer_certificate_authority"],
                    issuer_certificate_authority=st.fixed_dictionaries({"aws_pca_authority_arn": ARNS}),
                    kms_key=KEYS,
                    role_arn=ROLES,
                ),
            ),
            max_size=1,
        ),
        log_configuration=LOGS,
        log_level=st.sampled_from(["debug", "info"]),
    ),
)
EBS = some(
    ["role_arn", "size_in_gib"],
    role_arn=ROLES,
    size_in_gib=st.integers(20, 21),
    volume_type=st.just("gp3"),
    iops=st.sampled_from([3000, 4000]),
    throughput=st.sampled_from([125, 250]),
    encrypted=st.booleans(),
    kms_key_id=KEYS,
    filesystem_type=st.sampled_from(["ext4", "xfs"]),
    tags=st.dictionaries(NAMES, st.sampled_from(["a", ""]), min_size=1, max_size=2),
    propagate_tags=st.sampled_from(["SERVICE", "TASK_DEFINITION"]),
)
STRATEGY = st.sampled_from(
    [
        [{"capacity_provider": "FARGATE", "weight": 1}],
        [{"capacity_provider": "FARGATE_SPOT", "weight": 3}, {"capacity_provider": "FARGATE", "base": 1}],
    ]
)
SERVICE = some(
    ["name", "task", "desired_count", "subnets", "disk"],
    name=st.sampled_from(["a", "b"]),
    task=TASK,
    desired_count=st.just(0),
    enforce_desired_count=st.booleans(),
    subnets=st.lists(st.integers(0, 2), min_size=1, max_size=2),
    security_groups=st.lists(st.integers(0, 1), max_size=2),
    assign_public_ip=st.booleans(),
    placement=st.one_of(STRATEGY, st.just("FARGATE")),
    platform_version=st.sampled_from(["LATEST", "1.4.0"]),
    minimum_healthy_percent=st.sampled_from([0, 50, 100]),
    maximum_percent=st.sampled_from([150, 200]),
    circuit_breaker=some(
        ["enable", "rollback"],
        enable=st.booleans(),
        rollback=st.booleans(),
        threshold_configuration=st.fixed_dictionaries(
            {
                "type": st.sampled_from(["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"]),
                "value": st.sampled_from([2, 50]),
            }
        ),
        reset_on_healthy_task=st.booleans(),
    ),
    deployment_alarms=st.sampled_from(
        [
            {"alarm_names": [], "enable": False, "rollback": False},
            {"alarm_names": ["b", "a"], "enable": True, "rollback": True},
            {"alarm_names": ["a", "b"], "enable": True, "rollback": False},
        ]
    ),
    early_success_criteria=st.sampled_from(
        [
            {"enable": False},
            {"enable": True, "healthy_percent": 100, "source_service_revision_cleanup": "BLOCKING"},
            {"enable": True, "healthy_percent": 100, "source_service_revision_cleanup": "DEFERRED"},
        ]
    ),
    service_registries=st.sampled_from([[], [{"port": 53}], [{"container_name": "main", "container_port": 8000}]]),
    service_connect_configuration=CONNECT,
    disk=EBS,
    enable_ecs_managed_tags=st.booleans(),
    propagate_tags=st.sampled_from(["SERVICE", "TASK_DEFINITION", "NONE"]),
    availability_zone_rebalancing=SWITCH,
)
ARGUMENTS = st.fixed_dictionaries(
    {
        "services": several(SERVICE, "name", min_size=1),
        "tags": st.sampled_from([TAGS, {**TAGS, "Team": "a"}, {**TAGS, "Team": "", "Cost": "b"}]),
    },
    optional={"state": st.sampled_from(["present", "present", "present", "absent"])},
)
EXAMPLE = count()


class Pairs(Stack):
    def __init__(self, sandbox):
        super().__init__(sandbox)
        cloud_map = sandbox.client("servicediscovery")
        self.namespaces = [f"{self.cluster}-{i}" for i in (0, 1)]
        for name in self.namespaces:
            cloud_map.create_http_namespace(Name=name)
        found = {item["Name"]: item["Id"] for item in cloud_map.list_namespaces()["Namespaces"]}
        registry = cloud_map.create_service(Name=self.cluster, NamespaceId=found[self.namespaces[0]])
        self.registry = registry["Service"]["Arn"]

    def real(self, drawn, example):
        """A drawn service with what only this stack knows, and with what goes together brought together."""
        item = dict(drawn)
        task = dict(item.pop("task"))
        volumes, disk = task.pop("volumes"), item.pop("disk")
        containers = [{"name": "main", **task.pop("main")}, *task.pop("side")]
        item["name"] = f"{drawn['name']}-{example}"
        item["task_definition"] = {
            "family": f"{self.cluster}-{item['name']}",
            "cpu": "256",
            "memory": "512",
            "execution_role_arn": EXECUTION_ROLE,
            "volumes": [{"name": "tmp"}, *volumes],
            "containers": containers,
            **task,
        }
        # ECS wants exactly the volumes that the task definition leaves to the service
        configured = any(volume.get("configured_at_launch") for volume in volumes)
        item["volume_configurations"] = [{"name": "disk", "managed_ebs_volume": disk}] if configured else []
        item["subnets"] = [self.subnets[i] for i in item["subnets"]]
        if "security_groups" in item:
            item["security_groups"] = [self.security_groups[i] for i in item["security_groups"]]
        placement = item.pop("placement", "FARGATE")
        item["launch_type" if placement == "FARGATE" else "capacity_provider_strategy"] = placement
        for registry in item.get("service_registries", []):
            registry["registry_arn"] = self.registry
        connect = item.get("service_connect_configuration", {})
        if "namespace" in connect:
            item["service_connect_configuration"] = {**connect, "namespace": self.namespaces[connect["namespace"]]}
        return item

    def all(self, drawn, example):
        # hypothesis draws one object twice, and a validator changes what it validates
        services = [json.loads(json.dumps(self.real(item, example))) for item in drawn["services"]]
        return self.args(*services, **{key: value for key, value in drawn.items() if key != "services"})


@pytest.fixture(scope="module")
def stack(sandbox):
    return Pairs(sandbox)


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, stack, monkeypatch, before, after):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.05)
    example = next(EXAMPLE)
    event(pair(module, calls, "ecs_service", stack.all(before, example), stack.all(after, example)))
