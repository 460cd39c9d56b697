"""Targets and policies against the sandbox; the services are real ECS services whose tasks sleep."""

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
DIMENSION = "ecs:service:DesiredCount"
CPU, MEMORY = "ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization"
ALB = "ALBRequestCountPerTarget"
LABEL = "app/web/50dc6c495c0c9188/targetgroup/web/943f017f100becff"


@pytest.fixture(scope="module")
def scaling(sandbox):
    return sandbox.client("application-autoscaling")


@pytest.fixture(scope="module")
def services(sandbox):
    """service(name, desired=0) -> resource id of a new ECS service in the cluster t-scaling."""
    ecs = sandbox.client("ecs")
    ecs.create_cluster(clusterName="t-scaling")
    ecs.register_task_definition(
        family="t-scaling",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "sleep", "image": "busybox", "command": ["sleep", "3600"]}],
    )
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.0.0/24")["Subnet"]["SubnetId"]
    made = []

    def service(name, desired=0):
        ecs.create_service(
            cluster="t-scaling",
            serviceName=name,
            taskDefinition="t-scaling",
            desiredCount=desired,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )
        made.append(name)
        return f"service/t-scaling/{name}"

    yield service
    for name in made:
        ecs.delete_service(cluster="t-scaling", service=name, force=True)


def policy(name="cpu", metric=CPU, value=70, **fields):
    return {"name": name, "predefined_metric_type": metric, "target_value": value, **fields}


def args(*targets, **more):
    return {"targets": list(targets), "tags": TAGS, **more}


def target(resource_id, **fields):
    return {"resource_id": resource_id, "min_capacity": 0, "max_capacity": 5, "policies": [policy()], **fields}


def registered(scaling, resource_id):
    found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource_id])["ScalableTargets"]
    return found[0] if found else None


def policies(scaling, resource_id):
    found = scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=resource_id)["ScalingPolicies"]
    return {
        item["PolicyName"]: {"DisableScaleIn": False, **item["TargetTrackingScalingPolicyConfiguration"]}
        for item in found
    }


def where(resource_id):
    return {"ServiceNamespace": "ecs", "ResourceId": resource_id, "ScalableDimension": DIMENSION}


def test_create_many(quartet, services, scaling):
    one, two = services("t-create-one"), services("t-create-two")
    full = policy(scale_in_cooldown=300, scale_out_cooldown=60, disable_scale_in=True)
    result = quartet(
        "application_autoscaling",
        args(
            target(one, policies=[full, policy("memory", MEMORY, 80)]),
            target(two, policies=[policy("requests", ALB, 100, resource_label=LABEL)]),
        ),
    )
    assert [(change["action"], change["resource"]) for change in result["changes"]] == [
        ("create", f"scalable target {one}"),
        ("create", f"scaling policy cpu of {one}"),
        ("create", f"scaling policy memory of {one}"),
        ("create", f"scalable target {two}"),
        ("create", f"scaling policy requests of {two}"),
    ]
    there = registered(scaling, one)
    assert (there["MinCapacity"], there["MaxCapacity"]) == (0, 5)
    assert result["targets"][one]["arn"] == there["ScalableTargetARN"]
    assert scaling.list_tags_for_resource(ResourceARN=there["ScalableTargetARN"])["Tags"] == TAGS
    assert policies(scaling, one)["cpu"] == {
        "TargetValue": 70.0,
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 60,
        "DisableScaleIn": True,
        "PredefinedMetricSpecification": {"PredefinedMetricType": CPU},
    }
    assert policies(scaling, two)["requests"]["PredefinedMetricSpecification"]["ResourceLabel"] == LABEL


def test_check_mode_on_an_empty_account(module, calls):
    resource_id = "service/t-nowhere/t-nothing"
    result = module("application_autoscaling", args(target(resource_id)), check=True)
    assert [change["action"] for change in result["changes"]] == ["create", "create"]
    assert result["targets"][resource_id]["policies"]["cpu"]["target_value"] == 70
    assert result["targets"][resource_id]["arn"].startswith(
        "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/(known after apply: "
    )
    assert calls.writes == []


def test_a_service_that_does_not_exist(module):
    result = module("application_autoscaling", args(target("service/t-nowhere/t-nothing")), expect_failure=True)
    assert "the service t-nothing does not exist in the cluster t-nowhere" in result["msg"]
    assert "run site.yml without --tags autoscaling" in result["msg"]


DRIFTS = [
    pytest.param(
        lambda s, w: s.register_scalable_target(**w, MinCapacity=1),
        ("min_capacity", 1, 0),
        id="min_capacity",
    ),
    pytest.param(
        lambda s, w: s.register_scalable_target(**w, MaxCapacity=9),
        ("max_capacity", 9, 5),
        id="max_capacity",
    ),
    pytest.param(
        lambda s, w: s.register_scalable_target(**w, RoleARN="arn:aws:iam::123456789012:role/other"),
        ("role_arn", "arn:aws:iam::123456789012:role/other", "arn:aws:iam::123456789012:role/scaler"),
        id="role_arn",
    ),
    *(
        pytest.param(
            lambda s, w, key=key: s.register_scalable_target(**w, SuspendedState={key: True}),
            (f"suspended.{field}", True, False),
            id=field,
        )
        for field, key in (
            ("dynamic_scaling_in_suspended", "DynamicScalingInSuspended"),
            ("dynamic_scaling_out_suspended", "DynamicScalingOutSuspended"),
            ("scheduled_scaling_suspended", "ScheduledScalingSuspended"),
        )
    ),
    pytest.param(
        lambda s, w: s.tag_resource(ResourceARN=_arn(s, w), Tags={"extra": "yes"}),
        ("tags.extra", "yes", None),
        id="tag added",
    ),
    pytest.param(
        lambda s, w: s.untag_resource(ResourceARN=_arn(s, w), TagKeys=["ManagedBy"]),
        ("tags.ManagedBy", None, "ansible"),
        id="tag removed",
    ),
]


def _arn(scaling, w):
    return registered(scaling, w["ResourceId"])["ScalableTargetARN"]


@pytest.fixture(scope="module")
def kept(services):
    """A target with every option given, the same in every drift test."""
    return args(
        target(
            services("t-drift"),
            role_arn="arn:aws:iam::123456789012:role/scaler",
            suspended=dict.fromkeys(
                ["dynamic_scaling_in_suspended", "dynamic_scaling_out_suspended", "scheduled_scaling_suspended"], False
            ),
            policies=[
                policy(scale_in_cooldown=300, scale_out_cooldown=60, disable_scale_in=False),
                policy("requests", ALB, 100, resource_label=LABEL),
            ],
        )
    )


@pytest.mark.parametrize(("drift", "change"), DRIFTS)
def test_target_drift(quartet, module, scaling, kept, drift, change):
    module("application_autoscaling", kept)
    resource_id = kept["targets"][0]["resource_id"]
    drift(scaling, where(resource_id))
    result = quartet("application_autoscaling", kept)
    assert [(c["resource"], c["path"], c["before"], c["after"]) for c in result["changes"]] == [
        (f"scalable target {resource_id}", *change)
    ]


@pytest.mark.parametrize(
    ("name", "drift", "changes"),
    [
        ("cpu", {"TargetValue": 50.0}, {("target_value", 50.0, 70.0)}),
        ("cpu", {"ScaleInCooldown": 1}, {("scale_in_cooldown", 1, 300)}),
        ("cpu", {"ScaleOutCooldown": 1}, {("scale_out_cooldown", 1, 60)}),
        ("cpu", {"DisableScaleIn": True}, {("disable_scale_in", True, False)}),
        (
            "cpu",
            {"PredefinedMetricSpecification": {"PredefinedMetricType": MEMORY}},
            {("predefined_metric_type", MEMORY, CPU)},
        ),
        (
            "requests",
            {"PredefinedMetricSpecification": {"PredefinedMetricType": ALB, "ResourceLabel": LABEL + "0"}},
            {("resource_label", LABEL + "0", LABEL)},
        ),
    ],
)
def test_policy_drift(quartet, module, scaling, kept, name, drift, changes):
    module("application_autoscaling", kept)
    resource_id = kept["targets"][0]["resource_id"]
    before = policies(scaling, resource_id)
    scaling.put_scaling_policy(
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={**before[name], **drift},
        **where(resource_id),
    )
    result = quartet("application_autoscaling", kept)
    assert {(c["path"], c["before"], c["after"]) for c in result["changes"]} == changes
    assert {c["resource"] for c in result["changes"]} == {f"scaling policy {name} of {resource_id}"}
    assert policies(scaling, resource_id) == before


def test_a_step_policy_in_the_place_of_ours(quartet, services, scaling):
    wanted = args(target(services("t-step")))
    quartet("application_autoscaling", wanted)
    resource_id = wanted["targets"][0]["resource_id"]
    scaling.delete_scaling_policy(PolicyName="cpu", **where(resource_id))
    scaling.put_scaling_policy(
        PolicyName="cpu",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
        **where(resource_id),
    )
    paths = {change["path"] for change in quartet("application_autoscaling", wanted)["changes"]}
    assert paths == {"policy_type", "target_value", "predefined_metric_type"}
    assert policies(scaling, resource_id)["cpu"]["TargetValue"] == 70


def test_what_is_left_out_stays(quartet, services, scaling):
    resource_id = services("t-left-out")
    quartet("application_autoscaling", args(target(resource_id, policies=[policy(scale_in_cooldown=77)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy(value=60)])))
    assert policies(scaling, resource_id)["cpu"]["ScaleInCooldown"] == 77
    quartet("application_autoscaling", {"targets": [{"resource_id": resource_id, "max_capacity": 8}]})
    assert (registered(scaling, resource_id)["MinCapacity"], list(policies(scaling, resource_id))) == (0, ["cpu"])


def test_a_policy_of_others_is_removed(quartet, services, scaling):
    wanted = args(target(services("t-fight")))
    quartet("application_autoscaling", wanted)
    resource_id = wanted["targets"][0]["resource_id"]
    scaling.put_scaling_policy(
        PolicyName="by-hand",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5,
            "PredefinedMetricSpecification": {"PredefinedMetricType": MEMORY},
        },
        **where(resource_id),
    )
    changes = quartet("application_autoscaling", wanted)["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scaling policy by-hand of {resource_id}", "delete")]
    assert list(policies(scaling, resource_id)) == ["cpu"]


def test_policies_swap_names(quartet, services, scaling):
    """AWS takes one policy a metric: neither could be written while the other is there."""
    resource_id = services("t-swap")
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("a", CPU), policy("b", MEMORY)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("a", MEMORY), policy("b", CPU)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("c", MEMORY)])))
    assert list(policies(scaling, resource_id)) == ["c"]


def test_clamping_is_foretold(module, sandbox, services):
    resource_id = services("t-clamp", desired=3)

    def desired():
        found = sandbox.client("ecs").describe_services(cluster="t-scaling", services=["t-clamp"])["services"]
        return found[0]["desiredCount"]

    first = module("application_autoscaling", args(target(resource_id, max_capacity=2)), check=True)["changes"][0]
    assert "runs 3 tasks: AWS stops 1 of them" in first["note"]
    assert (first["impact"], desired()) == ("disruptive", 3)
    module("application_autoscaling", args(target(resource_id, max_capacity=2)))
    assert desired() == 2
    change = module("application_autoscaling", args(target(resource_id, min_capacity=4, max_capacity=6)))["changes"]
    assert [(c["path"], c["note"]) for c in change] == [
        ("min_capacity", "the service runs 2 tasks: AWS starts 2 more at once"),
        ("max_capacity", ""),
    ]
    assert desired() == 4
    quiet = module("application_autoscaling", args(target(resource_id, min_capacity=1, max_capacity=9)))["changes"]
    assert [c["note"] for c in quiet] == ["", ""]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"min_capacity": 6}, ("min_capacity (celery_min_count) is 6", "(celery_max_count) 5")),
        ({"min_capacity": None}, ("not registered yet", "min_capacity and max_capacity")),
        ({"policies": [policy(), policy("b")]}, ("one policy a metric", "cpu and b")),
        ({"policies": [policy(), policy(metric=MEMORY)]}, ("the same name",)),
        ({"policies": [policy(metric=ALB)]}, ("resource_label", "targetgroup")),
        ({"policies": [policy(resource_label=LABEL)]}, ("resource_label", "to it alone")),
    ],
)
def test_refusals(module, calls, wrong, words):
    result = module(
        "application_autoscaling", args(target("service/t-scaling/t-refused", **wrong)), expect_failure=True
    )
    assert all(word in result["msg"] for word in words), result["msg"]
    assert calls.writes == []


def test_the_same_target_twice(module):
    twice = target("service/t-scaling/t-refused")
    result = module("application_autoscaling", args(twice, twice), expect_failure=True)
    assert "twice in targets" in result["msg"]


def test_somebody_elses_target_is_not_touched(module, left_alone, services, scaling):
    resource_id = services("t-foreign")
    scaling.register_scalable_target(
        **where(resource_id), MinCapacity=0, MaxCapacity=1, Tags={"Project": "nexus-learn", "Environment": "prod"}
    )
    result = module("application_autoscaling", args(target(resource_id)), expect_failure=True)
    assert "Environment=prod" in result["msg"]
    (warning,) = left_alone("application_autoscaling", args(target(resource_id)))
    assert warning.startswith(f"scalable target {resource_id} is left alone")
    assert registered(scaling, resource_id)["MaxCapacity"] == 1


def test_an_interrupted_run_is_completed(module, services, scaling, monkeypatch):
    from ansible_collections.nexus_learn.aws.plugins.module_utils import application_autoscaling

    resource_id = services("t-interrupted")
    wanted = args(target(resource_id, policies=[policy("a", CPU), policy("b", MEMORY)]))
    original, count = application_autoscaling._put_policy, []

    def dies(*arguments):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(application_autoscaling, "_put_policy", dies)
        with pytest.raises(KeyboardInterrupt):
            module("application_autoscaling", wanted)
    changes = module("application_autoscaling", wanted)["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scaling policy b of {resource_id}", "create")]
    assert list(policies(scaling, resource_id)) == ["a", "b"]


def test_absent(quartet, services, scaling):
    wanted = args(target(services("t-absent")))
    resource_id = wanted["targets"][0]["resource_id"]
    quartet("application_autoscaling", wanted)
    changes = quartet("application_autoscaling", {**wanted, "state": "absent"})["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scalable target {resource_id}", "delete")]
    assert registered(scaling, resource_id) is None
    assert policies(scaling, resource_id) == {}


def test_a_run_without_changes_reads_each_thing_once(module, services, calls):
    """However many targets: one call for the targets, one a page of policies, and one for the tags of each."""
    wanted = args(*(target(services(f"t-many-{number}")) for number in range(6)))
    module("application_autoscaling", wanted)
    calls.clear()
    assert module("application_autoscaling", wanted)["changes"] == []
    operations = [operation for _, operation in calls]
    assert operations.count("DescribeScalableTargets") == 1
    assert operations.count("ListTagsForResource") == 6
    assert "DescribeServices" not in operations


def test_absent_finds_targets_by_their_beginning_and_tags(quartet, module, services, scaling):
    mine, other = [services(f"t-star-{letter}") for letter in "ab"], services("t-stars")
    module("application_autoscaling", args(*(target(resource_id) for resource_id in (*mine, other))))
    theirs = services("t-star-theirs")
    scaling.register_scalable_target(**where(theirs), MinCapacity=0, MaxCapacity=1)
    changes = quartet("application_autoscaling", args({"resource_id": "service/t-scaling/t-star-*"}, state="absent"))[
        "changes"
    ]
    assert [c["resource"] for c in changes] == [f"scalable target {resource_id}" for resource_id in mine]
    assert [bool(registered(scaling, resource_id)) for resource_id in (*mine, other, theirs)] == [0, 0, 1, 1]
