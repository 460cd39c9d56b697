"""What all parts of the API share: state, faults, paging, names and tags."""

import re
from typing import ClassVar

from moto.core.exceptions import ServiceException
from moto.core.responses import BaseResponse

from .service import Region, Service


class Fault(ServiceException):
    """Fault(code, message) is answered as the AWS error of that code.

    A class of our own: for one of moto's core moto would look for a service model called "core".
    """


def combination(message: str) -> Fault:
    return Fault("InvalidParameterCombination", message)


def invalid(message: str) -> Fault:
    return Fault("InvalidParameterValue", message)


class Base(BaseResponse):
    """One request. `params` is what moto parsed from it by the service's model."""

    service: ClassVar[Service]
    params: dict

    @property
    def state(self) -> Region:
        return self.service.region(self.region)

    def _ec2(self):
        return self.service.sandbox.client("ec2", self.region)

    def _page(self, items: list, key, limit: int = 100) -> tuple[list, dict]:
        """(one page of `items`, {"Marker": …} when more follow); the marker is the key of the next item."""
        size = self.params.get("MaxRecords") or limit
        if not 20 <= size <= limit:
            raise invalid(f"MaxRecords must be between 20 and {limit}.")
        marker = self.params.get("Marker")
        first = next((n for n, item in enumerate(items) if key(item) == marker), None) if marker else 0
        if first is None:
            raise invalid("The marker is not valid.")
        more = {"Marker": key(items[first + size])} if len(items) > first + size else {}
        return items[first : first + size], more


def identifier(name: str, field: str, length: int) -> str:
    if len(name) > length or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.]*(-[A-Za-z0-9.]+)*", name):
        raise invalid(
            f"The parameter {field} is not a valid identifier. Identifiers must begin with a letter; must contain only "
            f"ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.",
        )
    return name.lower()


def checked_tags(given: list[dict]) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in given}
    if any(not key or key.lower().startswith("aws:") or len(key) > 128 or len(tags[key]) > 256 for key in tags):
        raise invalid("A tag key has 1 to 128 characters and no prefix aws:, a value at most 256.")
    if len(tags) > 50:
        raise Fault("TagQuotaPerResourceExceeded", "A resource can have at most 50 tags.")
    return tags


def tag_list(tags: dict[str, str]) -> list[dict]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def by_name(things: dict) -> list:
    return [thing for _, thing in sorted(things.items())]


def given(**values) -> dict:
    return {name: value for name, value in values.items() if value is not None}


def switch(on: bool) -> str:
    return "enabled" if on else "disabled"
