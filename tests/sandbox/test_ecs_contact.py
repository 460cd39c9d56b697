"""Every place where our ECS touches moto: these break, and say where, when moto is upgraded."""

import json

import pytest


@pytest.fixture
def dispatch():
    from moto.core.request import Request
    from moto.core.responses import ActionResult, BaseResponse

    from sandbox.ecs.errors import client

    class Response(BaseResponse):
        def __init__(self):
            super().__init__(service_name="ecs")
            self.automated_parameter_parsing = True

        def list_services(self):
            assert self.region == "eu-west-1"
            return ActionResult({"serviceArns": [self.params["cluster"]]})

        def create_cluster(self):
            raise client("in the words of ECS")

    def call(operation: str, body: dict):
        from werkzeug.test import EnvironBuilder

        headers = {
            "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/eu-west-1/ecs/aws4_request, Signature=x",
            "Content-Type": "application/x-amz-json-1.1",
            "Host": "127.0.0.1:4566",
        }
        builder = EnvironBuilder(method="POST", path="/", headers=headers, data=json.dumps(body))
        return Response.dispatch(Request(builder.get_environ()), "http://127.0.0.1:4566/", headers)

    return call


def test_ecs_is_reached_by_one_url_that_a_plug_in_may_replace():
    from moto.ecs import urls

    assert list(urls.url_paths) == ["{0}/$"]
    assert callable(urls.url_paths["{0}/$"])


def test_parameters_are_parsed_by_the_model_and_results_serialised_by_it(dispatch):
    status, _, body = dispatch("ListServices", {"cluster": "c"})
    assert (status, json.loads(body)) == (200, {"serviceArns": ["c"]})


def test_errors_get_the_shape_and_status_of_the_model(dispatch):
    status, _, body = dispatch("CreateCluster", {})
    assert int(status) == 400
    answer = json.loads(body)
    assert answer["__type"].endswith("ClientException")
    assert "in the words of ECS" in (answer.get("message") or answer.get("Message"))


def test_unknown_operations_raise_what_the_server_translates(dispatch):
    with pytest.raises(NotImplementedError):
        dispatch("ExecuteCommand", {"command": "x", "interactive": True, "task": "t"})
