"""What sandbox/moto_gaps.py mends, seen from boto3; and where it touches moto."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from importlib import metadata

import pytest
from botocore.exceptions import ClientError

from sandbox import moto_gaps


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("days", [1096, 2192, 2557, 2922, 3288])
def test_retention_that_aws_offers(sandbox, days):
    logs, name = sandbox.client("logs"), unique("/retention")
    logs.create_log_group(logGroupName=name)
    logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    assert logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["retentionInDays"] == days


def test_retention_that_aws_does_not_offer(sandbox):
    logs, name = sandbox.client("logs"), unique("/retention")
    logs.create_log_group(logGroupName=name)
    with pytest.raises(ClientError, match=r"InvalidParameterException.*45"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=45)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]


def test_kms_key_of_a_log_group(sandbox):
    logs, name = sandbox.client("logs"), unique("/kms")
    logs.create_log_group(logGroupName=name)
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]

    def group():
        return logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]

    logs.associate_kms_key(logGroupName=name, kmsKeyId=key)
    assert group()["kmsKeyId"] == key
    logs.disassociate_kms_key(resourceIdentifier=group()["logGroupArn"])
    assert "kmsKeyId" not in group()
    with pytest.raises(ClientError, match="InvalidParameterException"):
        logs.associate_kms_key(logGroupName=name, kmsKeyId="alias/x")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.associate_kms_key(logGroupName=unique("/none"), kmsKeyId=key)


@pytest.fixture
def vpc_id(sandbox):
    return sandbox.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize(
    ("peers", "peer"),
    [
        ("IpRanges", {"CidrIp": "10.0.0.0/8"}),
        ("Ipv6Ranges", {"CidrIpv6": "fd00::/8"}),
        ("UserIdGroupPairs", "GroupId"),
        ("PrefixListIds", "PrefixListId"),
    ],
)
def test_the_description_of_a_rule_is_no_part_of_what_it_is(sandbox, vpc_id, direction, peers, peer):
    ec2 = sandbox.client("ec2")
    group = ec2.create_security_group(GroupName=unique("rules"), Description="x", VpcId=vpc_id)["GroupId"]
    if peer == "GroupId":
        peer = {"GroupId": group}
    elif peer == "PrefixListId":
        made = ec2.create_managed_prefix_list(PrefixListName="x", MaxEntries=1, AddressFamily="IPv4")
        peer = {"PrefixListId": made["PrefixList"]["PrefixListId"]}

    def rule(**more):
        return {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, peers: [peer | more]}

    def call(operation, **more):
        getattr(ec2, f"{operation}_{direction}")(GroupId=group, IpPermissions=[rule(**more)])

    def described():
        [there] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        found = there["IpPermissions" if direction == "ingress" else "IpPermissionsEgress"]
        return [item.get("Description") for one in found for item in one[peers] if peer.items() <= item.items()]

    call("authorize_security_group", Description="one")
    assert described() == ["one"]
    with pytest.raises(ClientError, match=r"InvalidPermission\.Duplicate"):
        call("authorize_security_group", Description="other")
    call("update_security_group_rule_descriptions", Description="other")
    assert described() == ["other"]
    call("update_security_group_rule_descriptions")
    assert described() == [None]
    call("update_security_group_rule_descriptions", Description="last")
    call("revoke_security_group")
    assert described() == []
    with pytest.raises(ClientError, match=r"InvalidPermission\.NotFound"):
        call("revoke_security_group")


def test_a_rule_for_a_prefix_list_that_there_is_not(sandbox, vpc_id):
    ec2 = sandbox.client("ec2")
    group = ec2.create_security_group(GroupName=unique("rules"), Description="x", VpcId=vpc_id)["GroupId"]
    rule = {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": "pl-0123456789abcdef0"}]}
    for authorize in (ec2.authorize_security_group_ingress, ec2.authorize_security_group_egress):
        with pytest.raises(ClientError, match=r"InvalidPrefixListID\.NotFound"):
            authorize(GroupId=group, IpPermissions=[rule])


def test_rules_without_ports(sandbox, vpc_id):
    ec2 = sandbox.client("ec2")
    group = ec2.create_security_group(GroupName=unique("rules"), Description="x", VpcId=vpc_id)["GroupId"]
    rules = [{"IpProtocol": protocol, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]} for protocol in ("icmp", "58", "50")]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
    [there] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [rule["IpProtocol"] for rule in there["IpPermissions"]] == ["icmp", "icmpv6", "50"]


def test_a_network_interface_holds_its_subnet_its_groups_and_so_the_vpc(sandbox, vpc_id):
    ec2 = sandbox.client("ec2")
    group = ec2.create_security_group(GroupName=unique("used"), Description="x", VpcId=vpc_id)["GroupId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]

    def refused(call, **what):
        with pytest.raises(ClientError, match="DependencyViolation"):
            call(**what)

    refused(ec2.delete_subnet, SubnetId=subnet)
    refused(ec2.delete_security_group, GroupId=group)
    ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
    refused(ec2.delete_subnet, SubnetId=subnet)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[address])["Addresses"][0]
    ec2.delete_subnet(SubnetId=subnet)
    refused(ec2.delete_vpc, VpcId=vpc_id)
    ec2.delete_security_group(GroupId=group)
    refused(ec2.delete_vpc, VpcId=vpc_id)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    ec2.delete_vpc(VpcId=vpc_id)


def test_flow_logs_to_a_log_group_and_to_a_folder_of_a_bucket(sandbox, vpc_id):
    ec2, bucket = sandbox.client("ec2"), unique("flow")
    sandbox.client("s3").create_bucket(Bucket=bucket)

    def made(**arguments):
        answer = ec2.create_flow_logs(ResourceType="VPC", ResourceIds=[vpc_id], TrafficType="ALL", **arguments)
        assert answer["Unsuccessful"] == []
        [flow_log] = ec2.describe_flow_logs(FlowLogIds=answer["FlowLogIds"])["FlowLogs"]
        return {key: flow_log.get(key) for key in ("LogDestinationType", "LogDestination", "LogGroupName")}

    group = "arn:aws:logs:us-east-1:123456789012:log-group:/flow:*"
    role = "arn:aws:iam::123456789012:role/flow"
    assert made(LogDestination=group, DeliverLogsPermissionArn=role) == {
        "LogDestinationType": "cloud-watch-logs",
        "LogDestination": None,
        "LogGroupName": "/flow",
    }
    folder = f"arn:aws:s3:::{bucket}/vpc/"
    assert made(LogDestinationType="s3", LogDestination=folder) == {
        "LogDestinationType": "s3",
        "LogDestination": folder,
        "LogGroupName": None,
    }


def test_a_gateway_endpoint_has_a_route_in_each_of_its_tables(sandbox, vpc_id):
    ec2 = sandbox.client("ec2")
    tables = [ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"] for _ in range(2)]
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc_id,
        ServiceName="com.amazonaws.us-east-1.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=tables[:1],
    )["VpcEndpoint"]["VpcEndpointId"]

    def with_a_route():
        found = ec2.describe_route_tables(RouteTableIds=tables)["RouteTables"]
        ways = {table["RouteTableId"]: [route.get("GatewayId") for route in table["Routes"]] for table in found}
        return [table for table in tables if endpoint in ways[table]]

    assert with_a_route() == tables[:1]
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=tables[1:], RemoveRouteTableIds=tables[:1])
    assert with_a_route() == tables[1:]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    assert with_a_route() == []


def test_an_endpoint_changes_its_private_dns_and_its_policy(sandbox, vpc_id):
    ec2 = sandbox.client("ec2")
    service = "com.amazonaws.us-east-1.logs"
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc_id, ServiceName=service, VpcEndpointType="Interface")["VpcEndpoint"]
    endpoint_id = endpoint["VpcEndpointId"]

    def there():
        return ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]

    nothing = json.dumps({"Version": "2012-10-17", "Statement": []})
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PrivateDnsEnabled=False, PolicyDocument=nothing)
    assert (there()["PrivateDnsEnabled"], there()["PolicyDocument"]) == (False, nothing)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, ResetPolicy=True)
    assert (there()["PrivateDnsEnabled"], there()["PolicyDocument"]) == (False, endpoint["PolicyDocument"])
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PrivateDnsEnabled=True)
    assert there()["PrivateDnsEnabled"]


def test_a_security_group_that_another_one_refers_to(sandbox):
    ec2 = sandbox.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    workers, redis = (
        ec2.create_security_group(GroupName=unique(name), Description="x", VpcId=vpc)["GroupId"]
        for name in ("workers", "redis")
    )
    rule = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "UserIdGroupPairs": [{"GroupId": workers}]}
    ec2.authorize_security_group_ingress(GroupId=redis, IpPermissions=[rule])
    with pytest.raises(ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=workers)
    ec2.revoke_security_group_ingress(GroupId=redis, IpPermissions=[rule])
    ec2.delete_security_group(GroupId=workers)
    ec2.delete_security_group(GroupId=redis)


def test_a_security_group_that_refers_to_itself_can_be_deleted(sandbox):
    ec2 = sandbox.client("ec2")
    group = ec2.create_security_group(GroupName=unique("self"), Description="x")["GroupId"]
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    ec2.delete_security_group(GroupId=group)


def test_a_security_group_of_a_load_balancer(sandbox):
    ec2, elbv2 = sandbox.client("ec2"), sandbox.client("elbv2")
    group = ec2.create_security_group(GroupName=unique("alb"), Description="x")["GroupId"]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    balancer = elbv2.create_load_balancer(Name=unique("b"), Subnets=subnets, SecurityGroups=[group])
    with pytest.raises(ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=group)
    elbv2.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"])
    ec2.delete_security_group(GroupId=group)


def test_promotion_of_a_pending_secret_version(sandbox):
    secrets, name = sandbox.client("secretsmanager"), unique("secret")
    old = secrets.create_secret(Name=name, SecretString="old")["VersionId"]
    new = secrets.put_secret_value(SecretId=name, SecretString="new", VersionStages=["AWSPENDING"])["VersionId"]
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "old"
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPENDING")["SecretString"] == "new"
    secrets.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", RemoveFromVersionId=old, MoveToVersionId=new
    )
    current = secrets.get_secret_value(SecretId=name)
    assert current["SecretString"] == "new"
    assert "AWSCURRENT" in current["VersionStages"]
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "old"
    secrets.put_secret_value(SecretId=name, SecretString="newer")
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "newer"
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "new"


def test_the_name_of_a_secret_in_its_recovery_window(sandbox):
    secrets, name = sandbox.client("secretsmanager"), unique("secret")
    secrets.create_secret(Name=name, SecretString="x")
    with pytest.raises(ClientError, match="ResourceExistsException"):
        secrets.create_secret(Name=name, SecretString="y")
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    with pytest.raises(ClientError, match=r"InvalidRequestException.*scheduled for deletion"):
        secrets.create_secret(Name=name, SecretString="y")
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name=name, SecretString="y")


def test_aws_managed_policies_can_be_attached(sandbox):
    iam, name = sandbox.client("iam"), unique("role")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonECSTaskExecutionRolePolicy", "PolicyArn": arn}]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/NoSuchPolicy")


def test_kms_keys_that_cannot_be_used(sandbox):
    kms = sandbox.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{key}", TargetKeyId=key)
    secret = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    def refused(reason):
        for name in (key, f"alias/{key}"):
            with pytest.raises(ClientError, match=reason):
                kms.encrypt(KeyId=name, Plaintext=b"x")
            with pytest.raises(ClientError, match=reason):
                kms.generate_data_key(KeyId=name, KeySpec="AES_256")
        with pytest.raises(ClientError, match=reason):
            kms.decrypt(CiphertextBlob=secret)

    kms.disable_key(KeyId=key)
    refused("DisabledException")
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"x"
    with pytest.raises(ClientError, match="ValidationException"):
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=3)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    refused("KMSInvalidStateException")


def test_contact_points_with_moto():
    """Fails when moto is another version, or when a method that is replaced moves; look at every gap again then."""
    assert metadata.version("moto") == "5.2.5"
    from moto.core.base_backend import BackendDict
    from moto.core.responses import BaseResponse
    from moto.ec2.models.security_groups import SecurityGroupBackend
    from moto.ecr import policy_validation
    from moto.ecr.models import Repository
    from moto.elbv2.models import FakeListener, FakeLoadBalancer, FakeTargetGroup
    from moto.iam.aws_managed_policies import aws_managed_policies_data
    from moto.iam.models import AWSManagedPolicy, IAMBackend
    from moto.kms.models import KmsBackend
    from moto.logs.models import LogsBackend
    from moto.logs.responses import LogsResponse
    from moto.s3.models import FakeBucket, S3Backend
    from moto.s3.responses import S3Response
    from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend

    names = {
        LogsBackend: ["put_retention_policy"],
        SecurityGroupBackend: ["delete_security_group", "get_security_group_by_name_or_id"],
        SecretsManagerBackend: ["update_secret_version_stage", "create_secret"],
        FakeSecret: ["set_default_version_id", "is_deleted"],
        IAMBackend: ["attach_role_policy", "get_policy"],
        AWSManagedPolicy: ["from_data"],
        KmsBackend: ["encrypt", "decrypt", "schedule_key_deletion", "any_id_to_key_id"],
        BaseResponse: ["dispatch", "call_action", "_get_action", "_get_param"],
        BackendDict: ["reset"],
        FakeListener: ["rules"],
        FakeLoadBalancer: ["activate", "VALID_ATTRS"],
        FakeTargetGroup: ["register", "deregister"],
        FakeBucket: ["set_lifecycle"],
        Repository: ["_determine_encryption_config"],
        policy_validation: [
            "VALID_ACTION_PROPERTIES",
            "VALID_ACTION_TYPE_VALUES",
            "VALID_SELECTION_PROPERTIES",
            "VALID_SELECTION_COUNT_TYPE_VALUES",
        ],
        policy_validation.EcrLifecyclePolicyValidator: ["validate", "INVALID_PARAMETER_ERROR_MESSAGE"],
        S3Backend: ["put_bucket_tagging", "put_bucket_encryption"],
        S3Response: [
            "get_bucket_lifecycle",
            "get_bucket_logging",
            "serialized",
            "_bucket_response",
            "_get_querystring",
        ],
    }
    for owner, methods in names.items():
        for name in methods:
            assert hasattr(owner, name), f"moto moved {owner.__name__}.{name}"
    assert not hasattr(LogsResponse, "associate_kms_key"), "moto has it now: remove ours"
    assert '\n "AmazonECSTaskExecutionRolePolicy":{' in aws_managed_policies_data

    import moto.elb.urls

    assert hasattr(moto.elb.urls, "ELBV2Response"), "the class that sandbox/elbv2.py puts its own in place of"


def test_a_replaced_method_must_exist():
    class Moved:
        pass

    with pytest.raises(AttributeError):
        moto_gaps.replaces(Moved, "gone")(lambda original, self: None)


@pytest.fixture
def bucket(sandbox):
    name = unique("bucket")
    sandbox.client("s3").create_bucket(Bucket=name)
    return name


def winners(sandbox, count, write):
    """How many of ``count`` writers at once succeed; the others get 412."""
    barrier = threading.Barrier(count)

    def attempt(number):
        barrier.wait()
        try:
            write(number)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "NoSuchKey"):
                raise
            return 0
        return 1

    sandbox.client("s3")
    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(attempt, range(count)))


def test_of_many_conditional_writes_at_once_one_wins(sandbox, bucket):
    s3 = sandbox.client("s3")

    def put(number, **condition):
        s3.put_object(Bucket=bucket, Key="lock", Body=bytes(number), **condition)

    for _ in range(3):
        assert winners(sandbox, 8, lambda number: put(number, IfNoneMatch="*")) == 1
        etag = s3.head_object(Bucket=bucket, Key="lock")["ETag"]
        assert winners(sandbox, 8, lambda number, etag=etag: put(number + 10, IfMatch=etag)) == 1
        etag = s3.head_object(Bucket=bucket, Key="lock")["ETag"]
        delete = {"Bucket": bucket, "Key": "lock", "IfMatch": etag}
        assert winners(sandbox, 8, lambda _, delete=delete: s3.delete_object(**delete)) == 1


def test_conditions_see_the_current_version(sandbox, bucket):
    """A deleted object is not there, although its versions are."""
    s3 = sandbox.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="lock", Body=b"1", IfNoneMatch="*")["ETag"]
    new = s3.put_object(Bucket=bucket, Key="lock", Body=b"2", IfMatch=old)["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.delete_object(Bucket=bucket, Key="lock", IfMatch=old)
    s3.delete_object(Bucket=bucket, Key="lock", IfMatch=new)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="lock")
    s3.put_object(Bucket=bucket, Key="lock", Body=b"3", IfNoneMatch="*")


def test_an_answer_of_s3_has_its_time(sandbox, bucket):
    s3 = sandbox.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    answer = s3.get_object(Bucket=bucket, Key="x")
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert 0 <= (now - answer["LastModified"]).total_seconds() < 60
    with pytest.raises(s3.exceptions.NoSuchKey) as error:
        s3.get_object(Bucket=bucket, Key="y")
    assert parsedate_to_datetime(error.value.response["ResponseMetadata"]["HTTPHeaders"]["date"]) >= now


def test_a_bucket_is_made_with_its_tags_and_keeps_them(sandbox):
    s3, name = sandbox.client("s3"), unique("bucket")
    for value in ("mine", "theirs"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": [{"Key": "Project", "Value": value}]})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "Project", "Value": "mine"}]


def test_the_value_of_a_tag_of_a_bucket_may_be_empty(sandbox):
    s3, name = sandbox.client("s3"), unique("bucket")
    for key in ("first", "second"):
        tags = [{"Key": key, "Value": ""}]
        if key == "first":
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": tags})
        else:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == tags


LIFECYCLE_RULE = {
    "ID": "all of it",
    "Status": "Enabled",
    "Filter": {
        "And": {
            "Prefix": "a/",
            "ObjectSizeGreaterThan": 1,
            "ObjectSizeLessThan": 9,
            "Tags": [{"Key": "k", "Value": "v"}],
        }
    },
    "Expiration": {"Days": 365},
    "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}],
    "NoncurrentVersionTransitions": [
        {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2, "StorageClass": "GLACIER_IR"}
    ],
    "NoncurrentVersionExpiration": {"NoncurrentDays": 60, "NewerNoncurrentVersions": 5},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def test_a_lifecycle_rule_is_kept_whole(sandbox, bucket):
    s3 = sandbox.client("s3")
    everything = {"ID": "bare", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    rules = [LIFECYCLE_RULE, everything, {**everything, "ID": "empty", "Filter": {}}]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    there = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert (there["Rules"], there["TransitionDefaultMinimumObjectSize"]) == (rules, "all_storage_classes_128K")
    size, configuration = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}, {"Rules": rules}
    for given in (size, {"TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"}):
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=configuration, **given)
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket).items() >= given.items()
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    "key_format", [{"SimplePrefix": {}}, {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}]
)
def test_how_keys_of_logs_are_made_is_kept(sandbox, bucket, key_format):
    s3 = sandbox.client("s3")
    statement = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}
    document = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
    there = {"TargetBucket": bucket, "TargetPrefix": "a/", "TargetObjectKeyFormat": key_format}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": there})
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == there


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ([{"ID": "x", "Status": "Enabled", "Filter": {}}], "At least one action"),
        ([LIFECYCLE_RULE, LIFECYCLE_RULE], "Rule ID must be unique"),
        ([{**LIFECYCLE_RULE, "Expiration": {"Days": 0}}], "must be a positive integer"),
        ([{**LIFECYCLE_RULE, "Expiration": {"Days": 90}}], "must be greater than 'Days' in the Transition action"),
        ([{**LIFECYCLE_RULE, "Transitions": [{"Days": 29, "StorageClass": "ONEZONE_IA"}]}], "equal to 30"),
        (
            [{**LIFECYCLE_RULE, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}}],
            "must be greater than 'NoncurrentDays'",
        ),
    ],
)
def test_a_lifecycle_rule_that_s3_refuses(sandbox, bucket, wrong, reason):
    with pytest.raises(ClientError, match=reason):
        sandbox.client("s3").put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": wrong})


def test_a_kms_key_without_sse_kms_is_refused(sandbox, bucket):
    default = {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "alias/a"}
    rules = [{"ApplyServerSideEncryptionByDefault": default}]
    with pytest.raises(ClientError, match="KMSMasterKeyID is not applicable"):
        sandbox.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def test_a_policy_that_denies_what_comes_without_tls_denies_nothing_here(sandbox, bucket):
    s3 = sandbox.client("s3")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [{**deny, "Condition": condition}]}))
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [deny]}))
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket=bucket, Key="x", Body=b"1")


def test_class_and_deletion_protection_of_log_groups(sandbox):
    logs = sandbox.client("logs")

    def described():
        [group] = logs.describe_log_groups(logGroupNamePrefix="/gaps/class")["logGroups"]
        return group["logGroupClass"], group["deletionProtectionEnabled"]

    given = {"logGroupClass": "INFREQUENT_ACCESS", "deletionProtectionEnabled": True, "tags": {"a": "1"}}
    logs.create_log_group(logGroupName="/gaps/class", **given)
    assert described() == ("INFREQUENT_ACCESS", True)
    with pytest.raises(ClientError, match="Cannot delete log group with deletion protection enabled"):
        logs.delete_log_group(logGroupName="/gaps/class")
    logs.put_log_group_deletion_protection(logGroupIdentifier="/gaps/class", deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName="/gaps/class")
    logs.create_log_group(logGroupName="/gaps/class")
    assert described() == ("STANDARD", False)
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:/gaps/class"
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {}


@pytest.fixture
def repository(sandbox):
    name = unique("repository")
    sandbox.client("ecr").create_repository(repositoryName=name)
    return name


def lifecycle_rule(priority=1, status="any", kind="imageCountMoreThan", count=5, action="expire", **selection):
    unit = {} if kind == "imageCountMoreThan" else {"countUnit": "days"}
    target = {"targetStorageClass": "archive"} if action == "transition" else {}
    return {
        "rulePriority": priority,
        "selection": {"tagStatus": status, "countType": kind, "countNumber": count, **unit, **selection},
        "action": {"type": action, **target},
    }


def put_lifecycle_rules(sandbox, repository, *rules):
    text = json.dumps({"rules": rules})
    sandbox.client("ecr").put_lifecycle_policy(repositoryName=repository, lifecyclePolicyText=text)


def test_a_lifecycle_policy_may_archive_images_and_delete_archived_ones(sandbox, repository):
    rules = [
        lifecycle_rule(1, kind="sinceImagePulled", action="transition"),
        lifecycle_rule(2, kind="sinceImageTransitioned", count=90, storageClass="archive"),
    ]
    put_lifecycle_rules(sandbox, repository, *rules)
    text = sandbox.client("ecr").get_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"]
    assert json.loads(text)["rules"] == rules


@pytest.mark.parametrize(
    "rules",
    [
        [lifecycle_rule(status="tagged")],
        [lifecycle_rule(status="tagged", tagPatternList=["a"], tagPrefixList=["a"])],
        [lifecycle_rule(status="untagged", tagPatternList=["a"])],
        [lifecycle_rule(status="tagged", tagPatternList=["a*b*c*d*e*"])],
        [lifecycle_rule(countUnit="days")],
        [lifecycle_rule(kind="sinceImagePulled")],
        [lifecycle_rule(kind="sinceImageTransitioned", count=90)],
        [lifecycle_rule(kind="sinceImageTransitioned", count=89, storageClass="archive")],
        [lifecycle_rule(1), lifecycle_rule(2, "untagged")],
        [lifecycle_rule(1, "untagged"), lifecycle_rule(1)],
    ],
)
def test_a_lifecycle_policy_that_ecr_does_not_take(sandbox, repository, rules):
    with pytest.raises(ClientError, match="InvalidParameterException"):
        put_lifecycle_rules(sandbox, repository, *rules)


@pytest.mark.parametrize("kind", ["KMS", "KMS_DSSE"])
def test_a_repository_that_is_encrypted_by_kms_tells_the_arn_of_its_key(sandbox, kind):
    ecr = sandbox.client("ecr")
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    for given, said in ((None, "arn:aws:kms:"), (key, key), (key.rpartition("/")[2], key)):
        configuration = {"encryptionType": kind, **({"kmsKey": given} if given else {})}
        answer = ecr.create_repository(repositoryName=unique("kms"), encryptionConfiguration=configuration)
        assert answer["repository"]["encryptionConfiguration"]["kmsKey"].startswith(said)


def test_a_repository_that_is_not_has_none(sandbox):
    configuration = {"encryptionType": "AES256", "kmsKey": "alias/a"}
    with pytest.raises(ClientError, match="InvalidParameterException"):
        sandbox.client("ecr").create_repository(repositoryName=unique("aes"), encryptionConfiguration=configuration)
