"""Amazon ElastiCache with real Redis nodes: `responses` is the API, `service` the work, `catalog` what AWS offers."""

from .responses import ElastiCacheResponse
from .service import Service


def install(sandbox) -> None:
    """Take moto's place for ElastiCache. Must run before the first request, when moto builds its URL map."""
    import moto.elasticache.urls
    from moto.core.resource_tagging import TaggedResource
    from moto.elasticache.models import ElastiCacheBackend

    service = Service(sandbox)
    ElastiCacheResponse.service = service
    moto.elasticache.urls.url_paths["{0}/$"] = ElastiCacheResponse.dispatch

    def tagged_resources(backend):
        for arn, tags in list(service.region(backend.region_name).tags.items()):
            yield TaggedResource(arn, tags, f"elasticache:{arn.split(':')[5]}")

    # what the Resource Groups Tagging API asks
    ElastiCacheBackend.iter_tagged_resources = tagged_resources  # type: ignore[method-assign]
    sandbox.every(0.25, service.monitor)
    sandbox.on_reset(service.forget)
    sandbox.on_stop(service.forget)
