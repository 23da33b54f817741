"""A real browser on the dashboard of a real daemon."""

import http.client
import json
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from serving_process import serving

import edgeexit
from edgeexit import reference

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = "a-token-for-the-dashboard-test"
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 30_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp() / "cache")}
    with serving(
        *("shirts=fashion-resnet", "--work-scale", "300", "--token-file", str(token), "--latency-budget-s", "0.05"),
        environment=cache,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield chromium
        chromium.close()


class Visit:
    """A page that is open, and what it said and asked for."""

    def __init__(self, page, daemon):
        self.page = page
        self.said, self.hosts = [], set()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.goto(f"http://127.0.0.1:{daemon.port}/")
        self.wait("document.getElementById('connection').textContent === 'live'")

    def wait(self, condition):
        """Wait until a condition holds; asked from outside, as the page's policy forbids what was not its own."""
        for _ in range(PATIENCE_MS // 50):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {condition}; the page said {self.said}")

    def text(self, name):
        return self.page.text_content(f"#{name}")

    def apply(self, governor, token):
        self.page.select_option("#governor", governor)
        self.page.fill("#token", token)
        self.page.click("#settings button")
        self.wait("document.getElementById('settings-answer').textContent !== ''")
        return self.text("settings-answer")


@pytest.fixture
def visit(browser, daemon):
    opened = []

    def open_page(**options):
        context = browser.new_context(**options)
        opened.append(context)
        return Visit(context.new_page(), daemon)

    yield open_page
    for context in opened:
        context.close()


@contextmanager
def load(daemon):
    """Ask for one answer after the other."""
    with np.load(Path(reference.__file__).parent / "fashion-images.npz") as file:
        images = file["images"][:50, None].astype(np.float32) / 255
    enough = threading.Event()

    def ask():
        with edgeexit.Client(f"http://127.0.0.1:{daemon.port}") as client:
            while not enough.is_set():
                for image in images:
                    client.infer("shirts", {"image": image[None]})
                    if enough.wait(0.01):
                        return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def state_of(daemon):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30.0)
    connection.request("GET", "/edgeexit/v1/state")
    state = json.loads(connection.getresponse().read())
    connection.close()
    return state


def governor_of(daemon):
    return state_of(daemon)["governor"]


def test_numbers_move_under_load_and_nothing_comes_from_elsewhere(visit, daemon):
    page = visit()
    with load(daemon):
        page.wait("Number(document.getElementById('rate').textContent) > 0")
        before = page.text("rate-note")
        page.wait(f"document.getElementById('rate-note').textContent !== {json.dumps(before)}")
        page.wait("document.querySelectorAll('#latency-chart .bar').length > 5")
        page.wait("document.querySelectorAll('#exits .track').length >= 6")
        page.wait("document.querySelectorAll('#recent tr').length > 3")
    assert "simulated" in page.text("energy-note")
    assert "MHz" in page.text("clocks") or "GHz" in page.text("clocks")
    assert page.said == []
    assert page.hosts == {f"127.0.0.1:{daemon.port}"}


def test_without_the_token_the_governor_stays(visit, daemon):
    page = visit()
    before = governor_of(daemon)
    assert "token" in page.apply("powersave", "")
    assert governor_of(daemon) == before


def test_with_a_wrong_token_it_stays_too(visit, daemon):
    page = visit()
    before = governor_of(daemon)
    assert "wrong" in page.apply("powersave", "not-the-token-at-all")
    assert governor_of(daemon) == before


def test_with_the_token_it_changes_and_the_page_shows_it(visit, daemon):
    page = visit()
    assert page.apply("performance", TOKEN) == "Applied."
    assert governor_of(daemon) == "performance"
    page.wait("document.getElementById('clocks-note').textContent.includes('governor performance')")
    page.page.fill("#deadline", "abc")
    page.page.click("#settings button")
    page.wait("document.getElementById('settings-answer').textContent.includes('number of milliseconds')")
    assert page.said == []


def test_what_the_user_did_not_touch_stays_as_somebody_else_has_set_it(visit, daemon):
    page = visit()
    page.page.fill("#deadline", "45.25")
    with edgeexit.Client(f"http://127.0.0.1:{daemon.port}", token=TOKEN) as client:
        client.change(governor="powersave")
    page.wait("document.getElementById('news').textContent === 'Now governor powersave.'")
    page.page.fill("#token", TOKEN)
    page.page.click("#settings button")
    page.wait("document.getElementById('settings-answer').textContent === 'Applied.'")
    state = state_of(daemon)
    assert (state["governor"], state["latency_budget_s"]) == ("powersave", 0.04525)


def test_refusals_are_shown_by_their_reason(visit, daemon):
    page = visit()
    with edgeexit.Client(f"http://127.0.0.1:{daemon.port}") as client, pytest.raises(edgeexit.errors.Refused):
        client.infer("shirts", {"image": np.zeros((1, 1, 28, 28), np.float32)}, latency_budget_s=1e-9)
    page.wait("document.getElementById('refusals').textContent.includes('not in time')")


def test_the_reason_is_readable_on_a_phone_without_scrolling_sideways(visit, daemon):
    page = visit(viewport={"width": 360, "height": 800})
    with load(daemon):
        page.wait("document.querySelector('#recent .reason') !== null")
    box = page.page.locator("#recent .reason").first.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_on_a_narrow_or_a_wide_screen(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_the_user_wants_it_dark(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert light.page.evaluate(ground) == "rgb(245, 246, 244)"
    assert dark.page.evaluate(ground) == "rgb(16, 22, 20)"


def test_every_control_is_reached_by_the_keyboard_and_has_a_name(visit):
    page = visit()
    reached = []
    for _ in range(12):
        page.page.keyboard.press("Tab")
        reached.append(page.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert [name for name in reached if name in ("governor", "deadline", "token", "Apply")] == [
        *("governor", "deadline", "token", "Apply")
    ]
    unnamed = "[...document.querySelectorAll('input, select')].filter((each) => !each.labels.length).length"
    assert page.page.evaluate(unnamed) == 0


def test_it_says_when_the_daemon_is_gone(browser, tmp_path):
    with serving("fashion-resnet") as short:
        context = browser.new_context()
        page = Visit(context.new_page(), short)
    page.wait("document.getElementById('connection').textContent === 'no answer'")
    assert "does not answer" in page.text("notice")
    context.close()


def test_it_goes_on_when_the_daemon_is_back(visit):
    page = visit()
    page.page.context.set_offline(True)
    page.wait("document.getElementById('connection').textContent === 'no answer'")
    assert page.page.is_visible("#notice")
    page.page.context.set_offline(False)
    page.wait("document.getElementById('connection').textContent === 'live'")
    assert not page.page.is_visible("#notice")
