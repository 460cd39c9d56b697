"""Cache parameter groups and their parameters."""

from moto.core.responses import ActionResult, EmptyResult

from . import catalog
from .base import Base, Fault, by_name, checked_tags, given, identifier, invalid
from .service import Group, ParameterGroup


class ParameterGroups(Base):
    def create_cache_parameter_group(self) -> ActionResult:
        p = self.params
        name = identifier(p["CacheParameterGroupName"], "CacheParameterGroupName", 255)
        family = p["CacheParameterGroupFamily"]
        if family not in catalog.PARAMETERS:
            raise invalid(f"CacheParameterGroupFamily {family} is not a valid parameter group family.")
        arn = self.service.arn(self.region, "parametergroup", name)
        with self.service.lock:
            if name in self.state.parameter_groups:
                raise Fault("CacheParameterGroupAlreadyExists", f"Cache parameter group {name} already exists.")
            group = self.state.parameter_groups[name] = ParameterGroup(name, family, p["Description"], arn)
            self.state.tags[arn] = checked_tags(p.get("Tags", []))
        return ActionResult({"CacheParameterGroup": _parameter_group_shape(group)})

    def describe_cache_parameter_groups(self) -> ActionResult:
        wanted = self.params.get("CacheParameterGroupName")
        groups = [self._parameter_group(wanted)] if wanted else by_name(self.state.parameter_groups)
        groups, marker = self._page(groups, lambda group: group.name)
        return ActionResult({"CacheParameterGroups": [_parameter_group_shape(group) for group in groups], **marker})

    def delete_cache_parameter_group(self) -> ActionResult:
        with self.service.lock:
            group = self._parameter_group(self.params["CacheParameterGroupName"])
            users = self._groups_with(group)
            if users or group.name.startswith("default."):
                raise Fault(
                    "InvalidCacheParameterGroupState",
                    f"Cache parameter group {group.name} is in use by {', '.join(g.id for g in users)}."
                    if users
                    else f"Cache parameter group {group.name} is a default and cannot be deleted.",
                )
            del self.state.parameter_groups[group.name]
            self.state.tags.pop(group.arn, None)
        return EmptyResult()

    def modify_cache_parameter_group(self) -> ActionResult:
        group = self._changeable_parameter_group()
        values = {v["ParameterName"]: v.get("ParameterValue", "") for v in self.params["ParameterNameValues"]}
        for name, value in values.items():
            parameter = self._parameter(group, name)
            if not parameter.accepts(value):
                raise invalid(f"Invalid value for parameter {name}: {value}; allowed: {parameter.allowed}.")
        self._store_values(group, {**group.values, **values}, values)
        return ActionResult({"CacheParameterGroupName": group.name})

    def reset_cache_parameter_group(self) -> ActionResult:
        group = self._changeable_parameter_group()
        if self.params.get("ResetAllParameters"):
            names = list(group.values)
        else:
            names = [v["ParameterName"] for v in self.params.get("ParameterNameValues") or []]
        for name in names:
            self._parameter(group, name)
        self._store_values(group, {k: v for k, v in group.values.items() if k not in names}, names)
        return ActionResult({"CacheParameterGroupName": group.name})

    def describe_cache_parameters(self) -> ActionResult:
        group = self._parameter_group(self.params["CacheParameterGroupName"])
        return self._parameters(group.family, group.values, self.params.get("Source"))

    def describe_engine_default_parameters(self) -> ActionResult:
        family = self.params["CacheParameterGroupFamily"]
        if family not in catalog.PARAMETERS:
            raise invalid(f"CacheParameterGroupFamily {family} is not a valid parameter group family.")
        result: dict = self._parameters(family, {}, None).result  # type: ignore[assignment]
        marker = result.pop("Marker", None)
        return ActionResult({"EngineDefaults": {"CacheParameterGroupFamily": family, **result, **given(Marker=marker)}})

    def _parameters(self, family: str, values: dict[str, str], source: str | None) -> ActionResult:
        if source not in (None, "user", "system", "engine-default"):
            raise invalid(f"Invalid source: {source}; use user, system or engine-default.")
        shapes = [
            {
                "ParameterName": parameter.name,
                "ParameterValue": values.get(parameter.name, parameter.default),
                "Description": parameter.name,
                "Source": "user" if parameter.name in values and parameter.modifiable else "system",
                "DataType": parameter.type,
                "AllowedValues": parameter.allowed,
                "IsModifiable": parameter.modifiable,
                "MinimumEngineVersion": next(v[0] for v in catalog.ENGINES.values() if v[1] == family),
                "ChangeType": parameter.change,
            }
            for parameter in catalog.PARAMETERS[family].values()
        ]
        if source:
            shapes = [shape for shape in shapes if (shape["Source"] == "user") == (source == "user")]
        shapes, marker = self._page(shapes, lambda shape: shape["ParameterName"])
        memory = {
            "ParameterName": "maxmemory",
            "Description": "Bytes of memory for data, before what is reserved.",
            "Source": "system",
            "DataType": "integer",
            "AllowedValues": "1-",
            "IsModifiable": False,
            "ChangeType": "immediate",
            "CacheNodeTypeSpecificValues": [
                {"CacheNodeType": name, "Value": str(size)} for name, size in catalog.NODE_TYPES.items()
            ],
        }
        return ActionResult(
            {"Parameters": shapes, "CacheNodeTypeSpecificParameters": [] if source == "user" else [memory], **marker}
        )

    def _parameter_group(self, name: str) -> ParameterGroup:
        group = self.state.parameter_groups.get(name.lower())
        if group is None:
            raise Fault("CacheParameterGroupNotFound", f"CacheParameterGroup not found: {name}")
        return group

    def _changeable_parameter_group(self) -> ParameterGroup:
        group = self._parameter_group(self.params["CacheParameterGroupName"])
        if group.name.startswith("default."):
            raise Fault(
                "InvalidCacheParameterGroupState", f"The default parameter group {group.name} cannot be changed."
            )
        return group

    def _groups_with(self, parameter_group: ParameterGroup) -> list[Group]:
        name = parameter_group.name
        return [
            group
            for group in by_name(self.state.groups)
            if name in (group.settings["CacheParameterGroupName"], group.pending.get("CacheParameterGroupName"))
        ]

    def _parameter(self, group: ParameterGroup, name: str) -> catalog.Parameter:
        parameter = catalog.PARAMETERS[group.family].get(name)
        if parameter is None:
            raise invalid(f"Could not find parameter with name: {name}")
        if not parameter.modifiable or (parameter.change == "requires-reboot" and self._groups_with(group)):
            raise invalid(f"The parameter {name} cannot be modified.")
        return parameter

    def _store_values(self, group: ParameterGroup, values: dict[str, str], names) -> None:
        group.values = values
        for name in names:
            message = f"Updated parameter {name} to {values.get(name, 'its default')}"
            self.service.event(self.state, "cache-parameter-group", group.name, message)
        self.service.parameters_changed(self.state, group.name)


def _parameter_group_shape(group: ParameterGroup) -> dict:
    return {
        "CacheParameterGroupName": group.name,
        "CacheParameterGroupFamily": group.family,
        "Description": group.description,
        "IsGlobal": False,
        "ARN": group.arn,
    }
