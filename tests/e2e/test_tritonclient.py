"""NVIDIA's client, unchanged, against the daemon's protocol: its answers are those of the Python API."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from http_here import protocol_app, served
from session_service import SessionService
from tritonclient.utils import InferenceServerException

import edgeexit

NET = "fashion-resnet"
OUTPUTS = ["logits", "probabilities", "label", "exit_index"]


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
def service(tmp_path_factory):
    with SessionService(cache_dir=tmp_path_factory.getbasetemp() / "cache") as service:
        yield service


@pytest.fixture(scope="module")
def address(service):
    with served(protocol_app(service)) as address:
        yield address


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


def picture_input(pictures, *, binary=True, library=triton):
    tensor = library.InferInput("image", list(pictures.shape), "FP32")
    return [tensor.set_data_from_numpy(pictures, binary_data=binary)]


def assert_same(answer, expected):
    np.testing.assert_array_equal(answer.as_numpy("logits"), [result.logits for result in expected])
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), [result.probabilities for result in expected])
    assert answer.as_numpy("label").tolist() == [result.label for result in expected]
    assert answer.as_numpy("exit_index").tolist() == [result.exit_index for result in expected]


def test_the_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NET)
    assert client.is_model_ready(NET, "1")
    assert not client.is_model_ready("nobody's")


def test_metadata_tells_what_the_model_takes_and_gives(client):
    metadata = client.get_model_metadata(NET, query_params={"any": 1})
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
    assert [(output["name"], output["datatype"]) for output in metadata["outputs"]] == [
        ("logits", "FP32"),
        ("probabilities", "FP32"),
        ("label", "INT64"),
        ("exit_index", "INT64"),
    ]
    assert client.get_model_config(NET)["input"][0]["data_type"] == "TYPE_FP32"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


@pytest.mark.parametrize("binary", [True, False])
def test_one_sample_is_answered_as_by_the_python_api(client, pictures, expected, binary):
    for picture, result in zip(pictures, expected, strict=True):
        assert_same(client.infer(NET, picture_input(picture[None], binary=binary)), [result])


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_come_raw_or_in_json_as_they_are_wanted(client, pictures, expected, binary):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
    assert_same(client.infer(NET, picture_input(pictures[:1]), outputs=wanted), expected[:1])


def test_only_the_outputs_that_are_wanted_come(client, pictures):
    answer = client.infer(NET, picture_input(pictures[:1]), outputs=[triton.InferRequestedOutput("label")])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["label"]


def test_a_batch_is_answered_as_by_the_python_api(client, pictures, expected):
    answer = client.infer(NET, picture_input(pictures))
    assert answer.as_numpy("label").tolist() == [result.label for result in expected]
    assert answer.as_numpy("exit_index").tolist() == [result.exit_index for result in expected]
    np.testing.assert_allclose(answer.as_numpy("logits"), [result.logits for result in expected], atol=1e-4)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_changes_nothing(client, pictures, expected, algorithm, binary):
    answer = client.infer(
        NET,
        picture_input(pictures[:1], binary=binary),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert_same(answer, expected[:1])


def test_classes_come_with_value_index_and_name(client, pictures, expected):
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2)]
    classes = client.infer(NET, picture_input(pictures[:1]), outputs=wanted).as_numpy("probabilities")
    value, index, name = classes[0, 0].decode().split(":")
    assert classes.shape == (1, 2)
    assert float(value) == pytest.approx(expected[0].probabilities.max(), abs=1e-6)
    assert (int(index), name) == (expected[0].label, expected[0].class_name)


def test_parameters_reach_the_session_and_come_back(client, service, pictures):
    parameters = {"exit_rule": "fixed", "allowed_drop": 0.0, "energy_budget_j": 1.5}
    answer = client.infer(
        NET, picture_input(pictures[:1]), request_id="mine", priority=1, timeout=250_000, parameters=parameters
    ).get_response()
    asked = service.asked[-1]
    assert (asked.exit_rule, asked.allowed_drop, asked.energy_budget_j) == ("fixed", 0.0, 1.5)
    assert (asked.priority, asked.latency_budget_s) == (1, 0.25)
    assert answer["id"] == "mine"
    assert answer["model_version"] == "1"
    assert answer["parameters"]["deadline_met"] is True
    assert answer["parameters"]["energy_source"] == "simulated"
    assert answer["parameters"]["clocks"].startswith("gpu=")


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda client, picture: client.infer("nobody's", picture), "404"),
        (lambda client, picture: client.infer(NET, picture, model_version="9"), "404"),
        (lambda client, picture: client.infer(NET, []), "400"),
        (lambda client, picture: client.infer(NET, picture, parameters={"exit_rule": "nobody's"}), "400"),
        (lambda client, picture: client.infer(NET, picture, outputs=[triton.InferRequestedOutput("no")]), "400"),
        (lambda client, _: client.get_model_metadata("nobody's"), "404"),
        (lambda client, _: client.load_model("nobody's"), "404"),
        (lambda client, _: client.get_system_shared_memory_status(), "400"),
        (lambda client, _: client.register_cuda_shared_memory("r", b"", 0, 1), "400"),
        (lambda client, _: client.get_trace_settings(), "400"),
        (lambda client, _: client.get_log_settings(), "400"),
    ],
)
def test_errors_are_told_in_words(client, pictures, call, status):
    with pytest.raises(InferenceServerException) as caught:
        call(client, picture_input(pictures[:1]))
    assert caught.value.status() == status
    assert "exception occurred in the client" not in caught.value.message()


def test_a_wrong_shape_is_told_in_words(client):
    with pytest.raises(InferenceServerException, match=r"\(N, 1, 28, 28\)"):
        client.infer(NET, picture_input(np.zeros((1, 28, 28), np.float32)))


def test_a_model_is_unloaded_and_loaded(client, pictures, expected):
    client.unload_model(NET)
    assert not client.is_model_ready(NET)
    assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
    with pytest.raises(InferenceServerException, match="unloaded"):
        client.infer(NET, picture_input(pictures[:1]))
    client.load_model(NET)
    assert client.get_model_repository_index()[0]["state"] == "READY"
    assert_same(client.infer(NET, picture_input(pictures[:1])), expected[:1])


def test_statistics_count_answers(client, pictures):
    def counted():
        (of_net,) = client.get_inference_statistics(NET)["model_stats"]
        return of_net["inference_count"], of_net["execution_count"]

    before = counted()
    client.infer(NET, picture_input(pictures))
    assert counted() == (before[0] + 8, before[1] + 1)
    assert client.get_inference_statistics()["model_stats"][0]["name"] == NET


def test_async_requests_at_the_same_time_are_answered_each_with_its_own(address, pictures, expected):
    async def ask_all():
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            order = [index % 8 for index in range(40)]
            asked = [client.infer(NET, picture_input(pictures[index][None], library=triton_aio)) for index in order]
            return zip(order, await asyncio.gather(*asked), strict=True)

    for index, answer in asyncio.run(ask_all()):
        assert_same(answer, [expected[index]])


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_async_requests_may_be_compressed_and_in_json(address, pictures, expected, algorithm, binary):
    async def ask():
        async with triton_aio.InferenceServerClient(address) as client:
            return await client.infer(
                NET,
                picture_input(pictures[:1], binary=binary, library=triton_aio),
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )

    assert_same(asyncio.run(ask()), expected[:1])


def test_async_errors_are_told_in_words(address, pictures):
    async def ask():
        async with triton_aio.InferenceServerClient(address) as client:
            await client.infer("nobody's", picture_input(pictures[:1], library=triton_aio))

    with pytest.raises(InferenceServerException, match='no model "nobody\'s"'):
        asyncio.run(ask())
