"""Where the sandbox's ElastiCache touches moto (which is why moto's version is pinned), and its own tables."""

import dataclasses

import moto.elasticache.urls
import pytest
from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.resource_tagging import TaggableResourcesMixin, TaggedResource
from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores, method_names_from_class
from moto.elasticache.models import ElastiCacheBackend, elasticache_backends

from sandbox.elasticache import catalog
from sandbox.elasticache.responses import ElastiCacheResponse

OPERATIONS = [
    "AddTagsToResource",
    "CreateCacheParameterGroup",
    "CreateCacheSubnetGroup",
    "CreateReplicationGroup",
    "DecreaseReplicaCount",
    "DeleteCacheParameterGroup",
    "DeleteCacheSubnetGroup",
    "DeleteReplicationGroup",
    "DeleteSnapshot",
    "DescribeCacheClusters",
    "DescribeCacheEngineVersions",
    "DescribeCacheParameterGroups",
    "DescribeCacheParameters",
    "DescribeCacheSubnetGroups",
    "DescribeEngineDefaultParameters",
    "DescribeEvents",
    "DescribeReplicationGroups",
    "DescribeServiceUpdates",
    "DescribeSnapshots",
    "IncreaseReplicaCount",
    "ListAllowedNodeTypeModifications",
    "ListTagsForResource",
    "ModifyCacheParameterGroup",
    "ModifyCacheSubnetGroup",
    "ModifyReplicationGroup",
    "RemoveTagsFromResource",
    "ResetCacheParameterGroup",
    "TestFailover",
]


def test_one_url_leads_to_elasticache():
    assert list(moto.elasticache.urls.url_paths) == ["{0}/$"]


def test_moto_finds_our_methods_by_operation_name():
    assert issubclass(ElastiCacheResponse, BaseResponse)
    found = set(method_names_from_class(ElastiCacheResponse))
    assert {camelcase_to_underscores(operation) for operation in OPERATIONS} <= found


def test_parameters_are_parsed_by_the_service_model():
    assert ElastiCacheResponse().automated_parameter_parsing is True
    assert BaseResponse("elasticache").automated_parameter_parsing is False


def test_faults_are_moto_service_exceptions_with_code_and_message():
    fault = ServiceException("SomeCode", "some message")
    assert (fault.code, fault.message) == ("SomeCode", "some message")


def test_faults_are_answered_with_the_status_of_the_service_model(sandbox):
    with pytest.raises(ClientError) as caught:
        sandbox.client("elasticache").describe_replication_groups(ReplicationGroupId="contract")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert caught.value.response["Error"]["Message"] == "ReplicationGroup contract not found."


def test_the_tagging_api_asks_backends_for_their_resources():
    assert issubclass(ElastiCacheBackend, TaggableResourcesMixin)
    assert "iter_tagged_resources" in vars(ElastiCacheBackend)
    assert [field.name for field in dataclasses.fields(TaggedResource)][:3] == ["arn", "tags", "resource_type"]
    assert elasticache_backends["123456789012"]["eu-west-1"].region_name == "eu-west-1"


def test_every_default_is_an_allowed_value():
    for family, table in catalog.PARAMETERS.items():
        for parameter in table.values():
            assert parameter.accepts(parameter.default), (family, parameter)


def test_node_types_have_the_memory_of_aws():
    assert catalog.NODE_TYPES["cache.t3.micro"] == 536870912
    assert catalog.NODE_TYPES["cache.t3.medium"] == 3317862236
    assert catalog.NODE_TYPES["cache.m7g.large"] == 6854542746
    assert catalog.NODE_TYPES["cache.r7g.16xlarge"] == 450000750456
    assert not any(catalog.PREVIOUS_GENERATION.fullmatch(name) for name in catalog.NODE_TYPES)


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_configuration_of_a_family(family):
    config = catalog.config(family, {"maxmemory-policy": "noeviction"}, "cache.t3.micro")
    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == "402653184"
    assert config["client-output-buffer-limit"] == "normal 0 0 0 pubsub 33554432 8388608 60"
    assert not {"cluster-enabled", "reserved-memory-percent", "appendonly"} & config.keys()
