"""NVIDIA's gRPC client, unchanged, against `edgeexit serve`: its answers are those of the Python API."""

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from serving_process import serving
from tritonclient.utils import InferenceServerException

import edgeexit

NET = "fashion-resnet"
TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def pictures():
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as data:
        return data["images"][:8, None].astype(np.float32) / 255


@pytest.fixture(scope="module")
def expected(pictures, tmp_path_factory):
    """Answers of the Python API, one by one."""
    device = edgeexit.open_device("simulated:jetson-tx2")
    cache_dir = tmp_path_factory.getbasetemp() / "cache"
    with device, edgeexit.Session(edgeexit.load_bundle(NET), device, cache_dir=cache_dir) as session:
        return [session.infer(picture[None]) for picture in pictures]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpc")
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    flags = ["--token-file", str(token), "--grpc-port", "0", "--grpc-unix", str(folder / "s")]
    with serving(NET, f"{NET}@2={NET}", *flags) as running:
        running.unix = folder / "s"
        running.target = re.search(r"gRPC on (\S+),", running.wait_for("listening for gRPC"))[1]
        yield running


@pytest.fixture
def client(daemon):
    with triton.InferenceServerClient(daemon.target) as client:
        yield client


def picture_input(pictures, library=triton):
    tensor = library.InferInput("image", list(pictures.shape), "FP32")
    tensor.set_data_from_numpy(pictures)
    return [tensor]


def assert_same(answer, expected):
    np.testing.assert_array_equal(answer.as_numpy("logits"), [result.logits for result in expected])
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), [result.probabilities for result in expected])
    assert answer.as_numpy("label").tolist() == [result.label for result in expected]
    assert answer.as_numpy("exit_index").tolist() == [result.exit_index for result in expected]


def test_the_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NET)
    assert client.is_model_ready(NET, "2")
    assert not client.is_model_ready(NET, "9")
    assert not client.is_model_ready("nobody's")


def test_metadata_tells_what_the_model_takes_and_gives(client):
    metadata = client.get_model_metadata(NET)
    (picture,) = metadata.inputs
    assert (picture.name, picture.datatype, list(picture.shape)) == ("image", "FP32", [-1, 1, 28, 28])
    assert [(output.name, output.datatype, list(output.shape)) for output in metadata.outputs] == [
        ("logits", "FP32", [-1, 10]),
        ("probabilities", "FP32", [-1, 10]),
        ("label", "INT64", [-1]),
        ("exit_index", "INT64", [-1]),
    ]
    assert list(metadata.versions) == ["1", "2"]
    assert client.get_server_metadata().name == "edgeexit"
    config = client.get_model_config(NET, as_json=True)["config"]
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": ["-1", "1", "28", "28"]}]
    assert config["backend"] == "onnxruntime"


def test_one_sample_is_answered_as_by_the_python_api(client, pictures, expected):
    for picture, result in zip(pictures, expected, strict=True):
        assert_same(client.infer(NET, picture_input(picture[None])), [result])


def test_a_batch_is_answered_as_by_the_python_api(client, pictures, expected):
    answer = client.infer(NET, picture_input(pictures))
    assert answer.as_numpy("label").tolist() == [result.label for result in expected]
    assert answer.as_numpy("exit_index").tolist() == [result.exit_index for result in expected]
    np.testing.assert_allclose(answer.as_numpy("logits"), [result.logits for result in expected], atol=1e-4)


def test_an_empty_batch_is_answered_with_empty_outputs(client, pictures):
    answer = client.infer(NET, picture_input(pictures[:0]))
    assert answer.as_numpy("logits").shape == (0, 10)


def test_only_the_outputs_that_are_wanted_come(client, pictures):
    answer = client.infer(NET, picture_input(pictures[:1]), outputs=[triton.InferRequestedOutput("label")])
    assert [output.name for output in answer.get_response().outputs] == ["label"]


def test_classes_come_with_value_index_and_name(client, pictures, expected):
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2)]
    classes = client.infer(NET, picture_input(pictures[:1]), outputs=wanted).as_numpy("probabilities")
    value, index, name = classes[0, 0].decode().split(":")
    assert classes.shape == (1, 2)
    assert float(value) == pytest.approx(expected[0].probabilities.max(), abs=1e-6)
    assert (int(index), name) == (expected[0].label, expected[0].class_name)


def test_parameters_go_in_and_come_back(client, pictures):
    parameters = {"exit_rule": "fixed", "allowed_drop": 0.0, "latency_budget_s": 30.0}
    answer = client.infer(NET, picture_input(pictures[:1]), model_version="1", request_id="mine", parameters=parameters)
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("mine", NET, "1")
    assert answer.as_numpy("exit_index").tolist() == [5]
    assert response.parameters["exit_index"].int64_param == 5
    assert response.parameters["deadline_met"].bool_param is True
    assert response.parameters["energy_source"].string_param == "simulated"
    assert response.parameters["latency_s"].double_param > 0
    assert response.parameters["clocks"].string_param.startswith("gpu=")


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda client, picture: client.infer("nobody's", picture), "NOT_FOUND"),
        (lambda client, picture: client.infer(NET, picture, model_version="9"), "NOT_FOUND"),
        (lambda client, picture: client.infer(NET, []), "INVALID_ARGUMENT"),
        (
            lambda client, picture: client.infer(NET, picture, parameters={"exit_rule": "nobody's"}),
            "INVALID_ARGUMENT",
        ),
        (
            lambda client, picture: client.infer(NET, picture, outputs=[triton.InferRequestedOutput("no")]),
            "INVALID_ARGUMENT",
        ),
        (lambda client, picture: client.infer(NET, picture, timeout=1), "DEADLINE_EXCEEDED"),
        (lambda client, _: client.get_model_metadata("nobody's"), "NOT_FOUND"),
        (lambda client, _: client.load_model("nobody's", headers=BEARER), "NOT_FOUND"),
        (lambda client, _: client.load_model(NET), "UNAUTHENTICATED"),
        (lambda client, _: client.get_system_shared_memory_status(), "UNIMPLEMENTED"),
        (lambda client, picture: client.infer(NET, picture, compression_algorithm="gzip"), "UNIMPLEMENTED"),
    ],
)
def test_errors_have_their_status(client, pictures, call, status):
    with pytest.raises(InferenceServerException) as caught:
        call(client, picture_input(pictures[:1]))
    assert caught.value.status() == f"StatusCode.{status}"


def test_a_wrong_shape_is_told_in_words(client):
    with pytest.raises(InferenceServerException, match=r"\(N, 1, 28, 28\)"):
        client.infer(NET, picture_input(np.zeros((1, 28, 28), np.float32)))


def test_a_model_is_unloaded_and_loaded_by_who_has_the_token(client, pictures, expected):
    client.unload_model(NET, headers=BEARER)
    assert not client.is_model_ready(NET)
    assert {each.state for each in client.get_model_repository_index().models} == {"UNAVAILABLE"}
    with pytest.raises(InferenceServerException, match="unloaded") as caught:
        client.infer(NET, picture_input(pictures[:1]))
    assert caught.value.status() == "StatusCode.UNAVAILABLE"
    client.load_model(NET, headers=BEARER)
    assert {each.state for each in client.get_model_repository_index().models} == {"READY"}
    assert_same(client.infer(NET, picture_input(pictures[:1])), expected[:1])


def test_the_unix_socket_answers_and_needs_no_token(daemon, pictures, expected):
    with triton.InferenceServerClient(f"unix:{daemon.unix}") as client:
        assert_same(client.infer(NET, picture_input(pictures[:1])), expected[:1])
        client.load_model(NET)


def test_statistics_count_answers(client, pictures):
    def counted():
        (of_net,) = client.get_inference_statistics(NET, "1").model_stats
        return of_net.inference_count, of_net.execution_count, of_net.inference_stats.success.count

    before = counted()
    client.infer(NET, picture_input(pictures), model_version="1")
    assert counted() == (before[0] + 8, before[1] + 1, before[2] + 1)
    assert len(client.get_inference_statistics().model_stats) == 2


def test_async_requests_at_the_same_time_are_answered_each_with_its_own(daemon, pictures, expected):
    async def ask_all():
        async with triton_aio.InferenceServerClient(daemon.target) as client:
            assert await client.is_server_ready()
            order = [index % 8 for index in range(40)]
            asked = [client.infer(NET, picture_input(pictures[index][None], triton_aio)) for index in order]
            return zip(order, await asyncio.gather(*asked), strict=True)

    for index, answer in asyncio.run(ask_all()):
        assert_same(answer, [expected[index]])


def test_async_errors_are_told_in_words(daemon, pictures):
    async def ask():
        async with triton_aio.InferenceServerClient(daemon.target) as client:
            await client.infer("nobody's", picture_input(pictures[:1], triton_aio))

    with pytest.raises(InferenceServerException, match='no model "nobody\'s"'):
        asyncio.run(ask())


def test_http_and_grpc_answer_from_the_same_models(daemon, client, pictures):
    label = client.infer(NET, picture_input(pictures[:1])).as_numpy("label").tolist()
    tensor = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": pictures[0].ravel().tolist()}
    status, _, answer = daemon.ask("POST", f"/v2/models/{NET}/infer", {"inputs": [tensor]})
    assert status == 200
    assert next(each["data"] for each in answer["outputs"] if each["name"] == "label") == label
