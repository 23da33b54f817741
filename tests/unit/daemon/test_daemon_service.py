"""The service on a simulated board, with a real bundle."""

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgeexit
from edgeexit import reference
from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.service import DaemonService
from edgeexit.daemon.settings import ServedBundle, ServiceSettings
from edgeexit.errors import (
    BundleError,
    InputError,
    ModelNotFound,
    ModelNotReady,
    OptionError,
    PluginNotFound,
    Refused,
)

SHIPPED = Path(reference.__file__).parent
BOARD = "simulated:jetson-tx2"


@pytest.fixture(scope="module")
def images():
    stored = np.load(SHIPPED / "fashion-images.npz")["images"][:20]
    return stored[:, None].astype(np.float32) / 255


class Notes:
    def __init__(self):
        self.answers, self.refusals = [], []

    def answered(self, answer, options):
        self.answers.append((answer, options))

    def refused(self, model, error):
        self.refusals.append((model, type(error)))


def run(body, *, served=None, observers=(), **settings):
    """Run `body(service)` on a service that was started, and close it."""

    async def with_service():
        bundles = [ServedBundle(name="shirts", path="fashion-resnet")] if served is None else served
        settings.setdefault("device", BOARD)
        service = DaemonService(bundles, ServiceSettings(**settings), observers)
        await service.start()
        try:
            return await body(service)
        finally:
            await service.close()

    return asyncio.run(with_service())


def ask(service, image, version=None, model="shirts", **options):
    return service.infer(model, version, {"image": image}, InferOptions(**options))


def test_answers_are_those_of_a_session(images):
    async def all_of_them(service):
        return [await ask(service, image[None], latency_budget_s=1.0) for image in images]

    answers = run(all_of_them)
    bundle = edgeexit.load_bundle("fashion-resnet")
    with edgeexit.open_device(BOARD) as device, edgeexit.Session(bundle, device) as session:
        expected = [session.infer(image[None]) for image in images]
    assert [a.results[0].label for a in answers] == [e.label for e in expected]
    assert [a.results[0].exit_index for a in answers] == [e.exit_index for e in expected]
    for answer, result in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer.results[0].logits, result.logits)
        assert answer.deadline_met


def test_requests_at_once_are_all_answered_with_their_own_answers(images):
    async def at_once(service):
        alone = [await ask(service, image[None]) for image in images]
        together = await asyncio.gather(*(ask(service, image[None]) for image in images))
        return alone, together

    alone, together = run(at_once)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.results[0].logits, other.results[0].logits)


def test_waiting_requests_run_as_a_batch_with_the_same_answers(images):
    served = [ServedBundle(name="shirts", path="fashion-resnet", max_batch=8)]

    async def at_once(service):
        return await asyncio.gather(*(ask(service, image[None]) for image in images))

    batched, alone = run(at_once, served=served), run(at_once)
    assert [a.results[0].label for a in batched] == [a.results[0].label for a in alone]
    assert all(len(answer.results) == 1 for answer in batched)


def test_a_batch_is_answered_sample_by_sample(images):
    answer = run(lambda service: ask(service, images[:5]))
    assert [result.label for result in answer.results] == [
        run(lambda service, image=image: ask(service, image[None])).results[0].label for image in images[:5]
    ]


def test_an_empty_batch_gets_an_empty_answer(images):
    assert run(lambda service: ask(service, images[:0])).results == ()


def test_a_request_may_bring_its_own_exit_rule(images):
    answer = run(lambda service: ask(service, images[:1], exit_rule="fixed", allowed_drop=0.0))
    assert answer.results[0].exit_index == 5
    assert answer.results[0].allowed_drop == 0.0


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"exit_rule": "no-such"}, OptionError),
        ({"allowed_drop": 0.123}, OptionError),
        ({"latency_budget_s": -1.0}, OptionError),
        ({"latency_budget_s": float("nan")}, OptionError),
        ({"energy_budget_j": -1.0}, InputError),
        ({"model": "trousers"}, ModelNotFound),
        ({"version": "7"}, ModelNotFound),
        ({"latency_budget_s": 1e-9}, Refused),
    ],
)
def test_what_cannot_be_done_is_an_error_and_the_next_request_is_answered(images, asked, error):
    notes = Notes()

    async def bad_then_good(service):
        with pytest.raises(error):
            await ask(service, images[:1], **asked)
        return await ask(service, images[:1])

    assert run(bad_then_good, observers=[notes]).results[0].label == 9
    assert notes.refusals == [(asked.get("model", "shirts"), error)]
    assert len(notes.answers) == 1


def test_a_wrong_input_is_refused_before_it_waits(images):
    async def wrong(service):
        with pytest.raises(InputError, match="shape"):
            await ask(service, images[0])
        return service.status().queue_length

    assert run(wrong) == 0


def test_the_default_deadline_holds_for_requests_that_bring_none(images):
    notes = Notes()
    answer = run(lambda service: ask(service, images[:1]), observers=[notes], latency_budget_s=0.5)
    assert answer.deadline_met
    assert notes.answers[0][1].latency_budget_s == 0.5


def test_the_highest_version_answers_where_none_is_named(images):
    served = [
        ServedBundle(name="shirts", path="fashion-resnet", version="2"),
        ServedBundle(name="shirts", path="fashion-vgg", version="10"),
    ]

    async def both(service):
        return await ask(service, images[:1]), await ask(service, images[:1], "2")

    newest, second = run(both, served=served)
    assert (newest.version, second.version) == ("10", "2")


def test_two_bundles_of_one_name_and_version_are_refused():
    twice = [ServedBundle(name="shirts", path="fashion-resnet")] * 2
    with pytest.raises(OptionError, match="twice in version 1"):
        DaemonService(twice, ServiceSettings())


def test_an_unloaded_model_answers_no_more_until_it_is_loaded(images):
    async def unload_and_load(service):
        await service.unload("shirts")
        with pytest.raises(ModelNotReady, match="unloaded on request"):
            await ask(service, images[:1])
        state = service.model("shirts").state
        await service.load("shirts")
        return state, await ask(service, images[:1])

    state, answer = run(unload_and_load)
    assert state == "unloaded"
    assert answer.results[0].label == 9


def copied(folder, name="fashion-resnet"):
    shutil.copytree(SHIPPED / name, folder)
    return folder


def test_requests_in_flight_finish_on_the_bundle_before_a_reload(images, tmp_path):
    folder = copied(tmp_path / "bundle")
    served = [ServedBundle(name="shirts", path=str(folder))]

    async def reload_under_load(service):
        asked = [asyncio.ensure_future(ask(service, images[:1])) for _ in range(20)]
        await asyncio.sleep(0)
        await service.load("shirts")
        return await asyncio.gather(*asked)

    assert len(run(reload_under_load, served=served)) == 20


def test_a_damaged_bundle_leaves_the_one_before_in_service(images, tmp_path):
    folder = copied(tmp_path / "bundle")
    served = [ServedBundle(name="shirts", path=str(folder))]

    async def damage_and_reload(service):
        (folder / "manifest.json").write_text("{}")
        with pytest.raises(BundleError):
            await service.load("shirts")
        return service.model("shirts"), await ask(service, images[:1])

    view, answer = run(damage_and_reload, served=served)
    assert (view.ready, view.state) == (True, "failed")
    assert "manifest.json" in view.reason
    assert answer.results[0].label == 9


def test_a_bundle_that_was_replaced_on_disk_is_noticed(images, tmp_path):
    folder = copied(tmp_path / "bundle")
    served = [ServedBundle(name="shirts", path=str(folder))]

    async def replace_it(service):
        before = service.model("shirts").bundle.name
        shutil.rmtree(folder)
        copied(folder, "fashion-vgg")
        async with asyncio.timeout(30) if hasattr(asyncio, "timeout") else _no_limit():
            while service.model("shirts").bundle.name == before:
                await asyncio.sleep(0.02)
        return before, service.model("shirts").bundle.name, await ask(service, images[:1])

    before, after, answer = run(replace_it, served=served, watch_s=0.02)
    assert (before, after) == ("fashion-resnet", "fashion-vgg")
    assert answer.results[0].label == 9


def test_a_folder_that_is_gone_is_warned_of_once_and_its_model_serves_on(images, tmp_path, caplog):
    folder = copied(tmp_path / "bundle")

    async def remove_it(service):
        shutil.rmtree(folder)
        for _ in range(3):
            await asyncio.sleep(0.1)
        return await ask(service, images[:1])

    served = [ServedBundle(name="shirts", path=str(folder))]
    assert run(remove_it, served=served, watch_s=0.02).results[0].label == 9
    told = [record.message for record in caplog.records if "not there any more" in record.message]
    assert told == [f"{folder} is not there any more: model shirts version 1 serves on as it was loaded"]


def test_what_is_changed_is_logged(caplog):
    caplog.set_level("INFO", "edgeexit.daemon")

    async def change(service):
        await service.change(governor="none", latency_budget_s=0.05)
        await service.change(no_deadline=True)
        await service.unload("shirts")
        await service.unload("shirts")

    run(change)
    told = [record.message for record in caplog.records]
    assert told[-4:] == [
        "the governor is now none",
        "the default deadline is now 50 ms",
        "the default deadline is now none",
        "model shirts version 1 is unloaded",
    ]


class _no_limit:  # noqa: N801  asyncio.timeout came with Python 3.11
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None


def test_a_bundle_that_is_damaged_at_the_start_stops_the_start(tmp_path):
    folder = copied(tmp_path / "bundle")
    (folder / "manifest.json").write_text(json.dumps({"format": 99}))

    async def nothing(service):
        raise AssertionError("it must not start")

    with pytest.raises(BundleError):
        run(nothing, served=[ServedBundle(name="shirts", path=str(folder))])


def test_another_governor_decides_from_the_next_request_on(images):
    async def change(service):
        first = await ask(service, images[:1], latency_budget_s=1.0)
        await service.change(governor="performance")
        second = await ask(service, images[:1], latency_budget_s=1.0)
        await service.change(governor="none")
        third = await ask(service, images[:1], latency_budget_s=1.0)
        return first, second, third, service.status()

    first, second, third, status = run(change)
    assert first.results[0].clocks["gpu"] < second.results[0].clocks["gpu"] == 1300500000
    assert third.results[0].clock_steps == ()
    assert status.governor == "none"


def test_a_governor_that_is_not_there_changes_nothing(images):
    async def change(service):
        with pytest.raises(PluginNotFound):
            await service.change(governor="no-such")
        return service.status().governor

    assert run(change) == "plan"


def test_the_default_deadline_can_be_changed_and_taken_away():
    async def change(service):
        await service.change(latency_budget_s=0.25)
        changed = service.status().latency_budget_s
        await service.change(no_deadline=True)
        with pytest.raises(OptionError):
            await service.change(latency_budget_s=0.0)
        return changed, service.status().latency_budget_s

    assert run(change) == (0.25, None)


def test_a_client_that_leaves_is_not_waited_for(images):
    async def leave(service):
        tasks = [asyncio.ensure_future(ask(service, images[:1])) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return done, service.status().queue_length, await ask(service, images[:1])

    done, waiting, answer = run(leave)
    assert done[0].results[0].label == 9
    assert all(isinstance(each, asyncio.CancelledError) for each in done[1:])
    assert waiting == 0
    assert answer.results[0].label == 9


def test_the_status_tells_of_the_board_and_of_recent_answers(images):
    async def look(service):
        await ask(service, images[:1], latency_budget_s=1.0)
        await asyncio.sleep(0)  # it is noted once the answer is on its way
        return service.status()

    status = run(look)
    assert (status.device, status.simulated, status.energy_source) == (BOARD, True, "simulated")
    assert status.clocks_set_by == "in process"
    assert "none" in status.governors
    assert status.recent[0].model == "shirts"
    assert status.recent[0].latency_budget_s == 1.0
    assert status.recent[0].reason


def test_after_the_close_nothing_is_answered(images):
    async def closed():
        service = DaemonService([ServedBundle(name="shirts", path="fashion-resnet")], ServiceSettings(device=BOARD))
        await service.start()
        await service.close()
        await service.close()
        with pytest.raises(Refused, match="being stopped"):
            await ask(service, images[:1])
        return service.alive

    assert asyncio.run(closed()) is False
