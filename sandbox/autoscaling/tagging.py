"""GetResources of the Resource Groups Tagging API, for what this plug-in has and moto does not know.

moto 5.2.5 answers the first 100 tags and a token, though a request that lists ARNs has no further pages.
"""

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.resource_tagging import TaggedResource
from moto.resourcegroupstaggingapi.exceptions import ResourceGroupsTaggingAPIError
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

from ..moto_gaps import replaces
from .state import State

MAX_ARNS = 100


def install(states: dict[str, State]) -> None:
    @replaces(ResourceGroupsTaggingAPIBackend, "_get_resources_generator")
    def generator(original, self, tag_filters=None, resource_type_filters=None, resource_arn_list=None):
        yield from original(self, tag_filters, resource_type_filters, resource_arn_list)
        if resource_arn_list:
            for arn, tags, kind in own(self.account_id, self.region_name):
                if tags and arn in resource_arn_list:
                    yield TaggedResource(arn=arn, tags=tags, resource_type=kind)

    @replaces(ResourceGroupsTaggingAPIBackend, "get_resources")
    def get_resources(original, self, *args, resource_arn_list=None, **kwargs):
        if not resource_arn_list:
            return original(self, *args, **kwargs)
        if len(resource_arn_list) > MAX_ARNS:
            raise ResourceGroupsTaggingAPIError(
                "InvalidParameterException", f"ResourceARNList can have at most {MAX_ARNS} ARNs."
            )
        return None, list(self._get_resources_generator(resource_arn_list=resource_arn_list))

    def own(account_id: str, region: str):
        """(ARN, tags, resource type) of scalable targets and dashboards."""
        if region in states:
            for target in list(states[region].targets.values()):
                yield target.arn, dict(target.tags), "application-autoscaling:scalable-target"
        cloudwatch = cloudwatch_backends[account_id][region]
        for dashboard in list(cloudwatch.dashboards.values()):  # those of us-east-1 are all there are
            yield dashboard.arn, cloudwatch.tagger.get_tag_dict_for_resource(dashboard.arn), "cloudwatch:dashboard"
