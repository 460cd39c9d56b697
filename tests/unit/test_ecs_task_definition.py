"""The normal form of task definitions: equal exactly when the tasks are the same."""

import copy
import random

from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_task_definition import (
    TASK_DEFAULTS,
    camel,
    normal,
    request,
    snake,
    text,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import differences
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,5}", fullmatch=True)
WORDS = st.text("abc/:=- ", min_size=1, max_size=6)
SMALL = st.integers(1, 120)


def some(**fields):
    """A dict of options of which each may be left out."""
    return st.fixed_dictionaries({}, optional=fields)


CONTAINERS = st.fixed_dictionaries(
    {"image": WORDS},
    optional={
        "essential": st.booleans(),
        "command": st.lists(WORDS, max_size=3),
        "environment": st.dictionaries(NAMES, st.one_of(WORDS, st.just(""), SMALL, st.booleans()), max_size=3),
        "secrets": st.dictionaries(st.from_regex(r"s[0-9]{1,3}", fullmatch=True), WORDS, max_size=2),
        "port_mappings": st.lists(
            st.fixed_dictionaries({"container_port": SMALL}, optional={"protocol": st.sampled_from(["tcp", "udp"])}),
            max_size=3,
            unique_by=lambda port: port["container_port"],
        ),
        "health_check": st.fixed_dictionaries(
            {"command": st.just(["CMD", "true"])}, optional={"interval": SMALL, "retries": SMALL, "start_period": SMALL}
        ),
        "stop_timeout": SMALL,
        "readonly_root_filesystem": st.booleans(),
        "linux_parameters": some(init_process_enabled=st.booleans()),
        "ulimits": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["nofile", "nproc"]), "soft_limit": SMALL, "hard_limit": SMALL}
            ),
            max_size=2,
            unique_by=lambda limit: limit["name"],
        ),
        "log_configuration": st.fixed_dictionaries(
            {
                "log_driver": st.just("awslogs"),
                "options": st.dictionaries(st.sampled_from(["awslogs-group", "x"]), WORDS),
            }
        ),
    },
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "family": st.just("f"),
        "cpu": st.sampled_from(["256", "512"]),
        "memory": st.just("1024"),
        "network_mode": st.just("awsvpc"),
        "requires_compatibilities": st.just(["FARGATE"]),
        "containers": st.lists(CONTAINERS, min_size=1, max_size=3).map(
            lambda found: [{"name": f"c{i}", **container} for i, container in enumerate(found)]
        ),
    },
    optional={
        "cpu_architecture": st.sampled_from(["X86_64", "ARM64"]),
        "ephemeral_storage_gib": st.integers(21, 200),
        "task_role_arn": WORDS,
        "volumes": st.lists(WORDS, max_size=3, unique=True).map(lambda names: [{"name": name} for name in names]),
    },
)


def described(arguments, seed):
    """The arguments as AWS would describe them: defaults spelled out, empty lists, other order, its own fields."""
    shuffle = random.Random(seed).shuffle
    document = copy.deepcopy(arguments)
    document |= {"revision": 3, "taskDefinitionArn": "arn", "status": "ACTIVE", "placementConstraints": []}
    document.setdefault("volumes", [])
    for volume in document["volumes"]:
        volume.setdefault("host", {})
    for container in document["containerDefinitions"]:
        for key in (
            "environment",
            "mountPoints",
            "volumesFrom",
            "portMappings",
            "systemControls",
            "secrets",
            "ulimits",
        ):
            container.setdefault(key, [])
            shuffle(container[key])
        container.setdefault("essential", True)
        container.setdefault("cpu", 0)
        for port in container["portMappings"]:
            port.setdefault("protocol", "tcp")
            port["hostPort"] = port["containerPort"]
        if "healthCheck" in container:
            for key, value in (("interval", 30), ("timeout", 5), ("retries", 3)):
                container["healthCheck"].setdefault(key, value)
    shuffle(document["containerDefinitions"])
    shuffle(document["volumes"])
    return document


@given(DEFINITIONS, st.integers())
def test_what_aws_describes_equals_what_was_asked(definition, seed):
    arguments = request(definition, {"Project": "p"})
    found = normal(described(arguments, seed))
    assert found == normal(arguments)
    assert list(differences(found, normal(arguments))) == []


@given(DEFINITIONS, DEFINITIONS)
def test_differences_are_seen_both_ways_and_only_then(one, other):
    before, after = normal(request(one, None)), normal(request(other, None))
    assert (before == after) == (not list(differences(before, after)))
    assert (before == after) == (not list(differences(after, before)))


@given(DEFINITIONS, NAMES, WORDS)
def test_one_changed_variable_is_one_difference(definition, name, value):
    changed = copy.deepcopy(definition)
    environment = changed["containers"][0].setdefault("environment", {})
    known = dict(environment)
    environment[name] = f"{value}!"
    found = list(differences(normal(request(definition, None)), normal(request(changed, None))))
    before = text(known[name]) if name in known else None
    assert found == [(f"containers.c0.environment.{name}", before, f"{value}!")]


def test_names_go_both_ways():
    for name in ("readonly_root_filesystem", "container_port", "efs_volume_configuration", "user", "start_period"):
        assert snake(camel(name)) == name


def test_yaml_values_become_what_containers_read():
    assert [text(value) for value in (5, 1.5, True, "x", "")] == ["5", "1.5", "true", "x", ""]


def test_keys_of_the_user_stay_as_they_are():
    definition = {
        "family": "f",
        "containers": [
            {"name": "c", "image": "i", "log_configuration": {"log_driver": "awslogs", "options": {"awslogs_Group": 1}}}
        ],
    }
    arguments = request(definition, None)
    assert arguments["containerDefinitions"][0]["logConfiguration"]["options"] == {"awslogs_Group": "1"}
    assert normal(arguments)["containers"]["c"]["log_configuration"]["options"] == {"awslogs_Group": "1"}


def test_sizes_in_words_are_sizes_in_numbers():
    assert normal({"cpu": "1 vCPU", "memory": "2 GB"})["cpu"] == "1024"
    assert normal({"cpu": ".5 vcpu", "memory": "2GB"})["memory"] == "2048"
    assert normal({"cpu": ".5 vcpu"})["cpu"] == "512"


def test_a_new_volume_without_any_setting_is_a_difference():
    before, after = normal({"volumes": []}), normal({"volumes": [{"name": "tmp", "host": {}}]})
    assert [path for path, _, _ in differences(before, after)] == ["volumes.tmp.configured_at_launch"]


def test_an_inactive_revision_is_not_as_wanted():
    assert TASK_DEFAULTS["status"] == "ACTIVE"
    assert list(differences(normal({"status": "INACTIVE"}), normal({}))) == [("status", "INACTIVE", "ACTIVE")]
