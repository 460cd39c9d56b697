"""45 cases in which IAM allows or denies, each as AWS decides it, over HTTP with boto3."""

import pytest
from iam_account import ACCOUNT, ALLOWED, Account, Caller, allow, deny, document, outcome, trust

from sandbox.iam.actions import LOG_DELIVERY

US = f"us-east-1:{ACCOUNT}"
CLUSTER = f"arn:aws:ecs:{US}:cluster/"
TASKS = {"Service": "ecs-tasks.amazonaws.com"}


@pytest.fixture(scope="module")
def account(start_sandbox) -> Account:
    """With two secrets, clusters, VPCs and log groups: `one` has the tag Team=a, `two` Team=b."""
    account = Account(start_sandbox(60.0, "--enforce-iam"))
    root = account.root
    account.secrets = {}
    account.vpcs = {}
    for name, team in (("one", "a"), ("two", "b")):
        tag = {"Key": "Team", "Value": team}
        account.secrets[name] = root("secretsmanager").create_secret(Name=name, SecretString="x", Tags=[tag])["ARN"]
        root("ecs").create_cluster(clusterName=name)
        account.vpcs[name] = root("ec2").create_vpc(
            CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": [tag]}]
        )["Vpc"]["VpcId"]
        root("logs").create_log_group(logGroupName=f"/{name}", tags={"Team": team})
    root("s3").create_bucket(Bucket="shelf")
    for key in ("mine/a", "other/a"):
        root("s3").put_object(Bucket="shelf", Key=key, Body=b"x")
    account.passed, account.kept = account.role(trusts=TASKS), account.role(trusts=TASKS)
    return account


CASES = []


def case(name: str, expected: str = ALLOWED):
    """Decorator: a function of the account that makes one call; `expected` is what AWS answers."""

    def keep(function):
        CASES.append(pytest.param(function, expected, id=name))
        return function

    return keep


def describe_vpcs(caller):
    return outcome(lambda: caller("ec2").describe_vpcs())


def get_secret(caller, name):
    return outcome(lambda: caller("secretsmanager").get_secret_value(SecretId=name))


# ---- signatures ----


@case("signature of the right secret key")
def _(account):
    return outcome(lambda: account.user(allow("iam:ListUsers"))("iam").list_users())


@case("signature of another secret key", "SignatureDoesNotMatch")
def _(account):
    caller = account.user(allow("*"))
    return outcome(lambda: Caller(caller.endpoint, caller.keys[0], "another")("iam").list_users())


@case("access key that nobody has", "UnrecognizedClientException")
def _(account):
    return outcome(lambda: Caller(account.sandbox.endpoint, "AKIANOBODY", "x")("ecs").list_clusters())


@case("access key that is switched off", "InvalidClientTokenId")
def _(account):
    account.root("iam").create_user(UserName="switched-off")
    caller = account.keys_of("switched-off")
    account.root("iam").update_access_key(UserName="switched-off", AccessKeyId=caller.keys[0], Status="Inactive")
    return outcome(lambda: caller("iam").list_users())


@case("session with another session's token", "UnrecognizedClientException")
def _(account):
    role = account.role(allow("ecs:ListClusters"))
    session, other = account.session(role), account.session(role)
    return outcome(lambda: Caller(session.endpoint, *session.keys[:2], other.keys[2])("ecs").list_clusters())


@case("request without a signature", "MissingAuthenticationToken")
def _(account):
    from botocore import UNSIGNED

    return outcome(lambda: account.user(allow("*"))("iam", signature_version=UNSIGNED).list_users())


# ---- deny by default ----


@case("no policy: ec2", "UnauthorizedOperation")
def _(account):
    return describe_vpcs(account.user())


@case("no policy: ecs", "AccessDeniedException")
def _(account):
    return outcome(lambda: account.user()("ecs").list_clusters())


@case("no policy: iam", "AccessDenied")
def _(account):
    return outcome(lambda: account.user()("iam").list_users())


@case("no policy: s3", "AccessDenied")
def _(account):
    return outcome(lambda: account.user()("s3").list_buckets())


@case("application-autoscaling describe, not granted", "AccessDeniedException")
def _(account):
    caller = account.user(allow("ecs:*"))("application-autoscaling")
    return outcome(lambda: caller.describe_scalable_targets(ServiceNamespace="ecs"))


@case("GetCallerIdentity needs no permission, even when denied")
def _(account):
    return outcome(lambda: account.user(deny("*"))("sts").get_caller_identity())


# ---- actions ----


@case("action granted")
def _(account):
    return describe_vpcs(account.user(allow("ec2:DescribeVpcs")))


@case("another action of the service", "UnauthorizedOperation")
def _(account):
    return describe_vpcs(account.user(allow("ec2:DescribeSubnets")))


@case("wildcard action allowed: cloudwatch.describe_alarms")
def _(account):
    return outcome(lambda: account.user(allow("cloudwatch:Describe*"))("cloudwatch").describe_alarms())


@case("wildcard action does not reach further", "AccessDeniedException")
def _(account):
    caller = account.user(allow("cloudwatch:Describe*"))("cloudwatch")
    return outcome(lambda: caller.delete_alarms(AlarmNames=["x"]))


@case("case of an action does not matter")
def _(account):
    return describe_vpcs(account.user(allow("EC2:describevpcs")))


@case("NotAction leaves the others allowed")
def _(account):
    statement = {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}
    return describe_vpcs(account.user(statement))


@case("NotAction does not allow what it names", "AccessDenied")
def _(account):
    statement = {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}
    return outcome(lambda: account.user(statement)("iam").list_users())


@case("explicit deny beats allow", "UnauthorizedOperation")
def _(account):
    return describe_vpcs(account.user(allow("*"), deny("ec2:DescribeVpcs")))


@case("managed policy, new default version")
def _(account):
    iam = account.root("iam")
    arn = account.policy(allow("ec2:DescribeSubnets"))
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("ec2:DescribeVpcs")), SetAsDefault=True)
    iam.create_user(UserName="managed")
    iam.attach_user_policy(UserName="managed", PolicyArn=arn)
    return describe_vpcs(account.keys_of("managed"))


@case("policy of the user's group")
def _(account):
    iam = account.root("iam")
    iam.create_group(GroupName="readers")
    iam.put_group_policy(GroupName="readers", PolicyName="own", PolicyDocument=document(allow("ec2:DescribeVpcs")))
    iam.create_user(UserName="reader")
    iam.add_user_to_group(GroupName="readers", UserName="reader")
    return describe_vpcs(account.keys_of("reader"))


# ---- resources ----


@case("resource scope: granted secret")
def _(account):
    return get_secret(account.user(allow("secretsmanager:GetSecretValue", on=account.secrets["one"])), "one")


@case("resource scope: another secret", "AccessDeniedException")
def _(account):
    return get_secret(account.user(allow("secretsmanager:GetSecretValue", on=account.secrets["one"])), "two")


@case("resource scope: secret by its name and any suffix")
def _(account):
    on = f"arn:aws:secretsmanager:{US}:secret:one-??????"
    return get_secret(account.user(allow("secretsmanager:GetSecretValue", on=on)), "one")


@case("resource scope: object below the granted prefix")
def _(account):
    caller = account.user(allow("s3:GetObject", on="arn:aws:s3:::shelf/mine/*"))
    return outcome(lambda: caller("s3").get_object(Bucket="shelf", Key="mine/a"))


@case("resource scope: object elsewhere", "AccessDenied")
def _(account):
    caller = account.user(allow("s3:GetObject", on="arn:aws:s3:::shelf/mine/*"))
    return outcome(lambda: caller("s3").get_object(Bucket="shelf", Key="other/a"))


@case("Deny with NotResource", "AccessDeniedException")
def _(account):
    but = {"Effect": "Deny", "Action": "secretsmanager:*", "NotResource": account.secrets["one"]}
    return get_secret(account.user(allow("*"), but), "two")


# ---- conditions ----


@case("condition aws:RequestedRegion matches")
def _(account):
    here = {"aws:RequestedRegion": "us-east-1"}
    return describe_vpcs(account.user(allow("ec2:DescribeVpcs", StringEquals=here)))


@case("condition aws:RequestedRegion does not match", "UnauthorizedOperation")
def _(account):
    caller = account.user(allow("ec2:*", StringEquals={"aws:RequestedRegion": "us-east-1"}))
    return outcome(lambda: caller("ec2", "eu-west-1").describe_vpcs())


def delete_vpc(account, name):
    caller = account.user(allow("ec2:DeleteVpc", StringEquals={"aws:ResourceTag/Team": "a"}))
    return outcome(lambda: caller("ec2").delete_vpc(VpcId=account.vpcs[name], DryRun=True))


@case("condition aws:ResourceTag matches")
def _(account):
    return delete_vpc(account, "one")


@case("condition aws:ResourceTag does not match", "UnauthorizedOperation")
def _(account):
    return delete_vpc(account, "two")


def create_cluster(account, tags):
    tagged = allow("ecs:*", StringEquals={"aws:RequestTag/Team": "a"})
    caller = account.user(tagged, allow("iam:CreateServiceLinkedRole"))
    return outcome(lambda: caller("ecs").create_cluster(clusterName=account.name("cluster"), tags=tags))


@case("condition aws:RequestTag given")
def _(account):
    return create_cluster(account, [{"key": "Team", "value": "a"}])


@case("condition aws:RequestTag missing", "AccessDeniedException")
def _(account):
    return create_cluster(account, [])


def list_services(account, cluster):
    caller = account.user(allow("ecs:ListServices", ArnEquals={"ecs:cluster": f"{CLUSTER}one"}))
    return outcome(lambda: caller("ecs").list_services(cluster=cluster))


@case("condition ecs:cluster matches")
def _(account):
    return list_services(account, "one")


@case("condition ecs:cluster other cluster", "AccessDeniedException")
def _(account):
    return list_services(account, "two")


def put_metric(account, namespace):
    caller = account.user(allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "mine"}))
    data = [{"MetricName": "m", "Value": 1}]
    return outcome(lambda: caller("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data))


@case("condition cloudwatch:namespace matches")
def _(account):
    return put_metric(account, "mine")


@case("condition cloudwatch:namespace another", "AccessDeniedException")
def _(account):
    return put_metric(account, "theirs")


# ---- iam:PassRole ----


def register(account, role, service="ecs-tasks.amazonaws.com"):
    passing = allow("iam:PassRole", on=account.passed, StringEquals={"iam:PassedToService": service})
    caller = account.user(allow("ecs:RegisterTaskDefinition"), passing)
    return outcome(
        lambda: caller("ecs").register_task_definition(
            family="f", networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
            taskRoleArn=role, containerDefinitions=[{"name": "c", "image": "busybox"}],
        )
    )  # fmt: skip


@case("iam:PassRole granted for the role")
def _(account):
    return register(account, account.passed)


@case("iam:PassRole not granted for another role", "AccessDeniedException")
def _(account):
    return register(account, account.kept)


# ---- boundaries, trust, sessions ----


@case("permissions boundary limits allow *", "UnauthorizedOperation")
def _(account):
    role = account.role(allow("*"), boundary=account.policy(allow("ecs:*")))
    return describe_vpcs(account.session(role))


@case("trust policy of the role does not name the caller", "AccessDenied")
def _(account):
    role = account.role(allow("*"), trusts=TASKS)
    return outcome(
        lambda: account.user(allow("sts:AssumeRole"))("sts").assume_role(RoleArn=role, RoleSessionName="session")
    )


@case("trust policy's condition on sts:ExternalId holds")
def _(account):
    role = account.role(allow("*"), conditions={"StringEquals": {"sts:ExternalId": "42"}})
    caller = account.user(allow("sts:AssumeRole", on=role))
    return outcome(lambda: caller("sts").assume_role(RoleArn=role, RoleSessionName="session", ExternalId="42"))


@case("session may do what its role may")
def _(account):
    return describe_vpcs(account.session(account.role(allow("ec2:DescribeVpcs"))))


@case("session policy limits what the role may", "UnauthorizedOperation")
def _(account):
    role = account.role(allow("*"))
    return describe_vpcs(account.session(role, Policy=document(allow("ecs:*"))))


@pytest.mark.parametrize(("function", "expected"), CASES)
def test_it_is_decided_as_on_aws(account, function, expected):
    assert function(account) == expected


def test_a_request_that_breaks_the_enforcement_is_an_error_and_not_allowed(account):
    """A body that is no text, rightly signed."""
    ec2 = account.user(allow("*"))("ec2")

    def garble(request, **_):
        request.data = b"Action=DescribeVpcs&Version=2016-11-15&Name=\xff"

    ec2.meta.events.register("before-sign.ec2.DescribeVpcs", garble)
    assert outcome(ec2.describe_vpcs) == "InternalFailure"


@pytest.mark.parametrize("granted", [False, True])
def test_who_has_logs_delivered_needs_the_permissions_for_it(account, granted):
    """ElastiCache User Guide, "Logging destinations"."""
    logs = [allow(text.partition(" ")[0]) for text in LOG_DELIVERY]
    cache = account.user(allow("elasticache:*"), *(logs if granted else logs[1:]))("elasticache")
    group = {"CloudWatchLogsDetails": {"LogGroup": "/one"}}
    delivery = {"LogType": "slow-log", "DestinationType": "cloudwatch-logs", "DestinationDetails": group}

    def modify(**arguments):
        return outcome(lambda: cache.modify_replication_group(ReplicationGroupId="nobody", **arguments))

    assert modify(LogDeliveryConfigurations=[delivery]) == (ALLOWED if granted else "AccessDenied")
    assert modify(AutoMinorVersionUpgrade=True) == ALLOWED


def test_the_boundary_of_a_role_that_is_to_be_made_is_the_one_of_the_call(account):
    """Also under the name of a role that has one."""
    boundary = account.policy(allow("ecs:*"))
    name = account.role(trusts=TASKS, boundary=boundary).rpartition("/")[2]
    iam = account.user(allow("iam:CreateRole", StringEquals={"iam:PermissionsBoundary": boundary}))("iam")

    def create(**arguments):
        trusts = trust(TASKS)
        return outcome(lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusts, **arguments))

    assert create() == "AccessDenied"
    assert create(PermissionsBoundary=boundary) == ALLOWED


def test_these_are_the_45_cases():
    assert len(CASES) == 45
    assert len({one.id for one in CASES}) == 45
