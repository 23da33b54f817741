import re
from html.parser import HTMLParser

import pytest
from replay_results import FORECAST, STEPS, bounds, replay, run, whole_study

pytest.importorskip("matplotlib")

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.reporting.charts_exits import wilson_interval
from edgeexit.offline.reporting.charts_time import clock_stretches, megahertz
from edgeexit.offline.reporting.drawings import drawings
from edgeexit.offline.reporting.page import report_page
from edgeexit.offline.reporting.theme import PRINT

FACTORS = (1.0, 1.25)
VOID = {"meta", "br", "img", "hr"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and remembers what matters."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.said = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "text"):
            self.said.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def study():
    return replay(
        *(each for factor in FACTORS for each in whole_study(factor)),
        bounds=tuple(each for factor in FACTORS for each in bounds(factor)),
        forecast=FORECAST,
    )


@pytest.fixture(scope="module")
def text():
    return report_page({"tiny on jetson-tx2": study(), "tiny on a <b>board</b>": replay(run())})


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_refers_to_nothing_outside_itself(text, page):
    assert "http" not in text.replace("http-equiv", "")
    assert not {"script", "link", "iframe", "object", "embed"}.intersection(tag for tag, _ in page.elements)
    references = [value for _, attributes in page.elements for key, value in attributes.items() if "href" in key]
    assert all(reference.startswith("#") for reference in references)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text


def test_no_two_elements_have_the_same_id_and_every_reference_is_met(text, page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_every_picture_says_what_it_shows(page):
    pictures = [attributes for attributes in page.all("div") if attributes.get("role") == "img"]
    assert len(pictures) == len(page.all("svg")) == 13
    assert all(len(picture["aria-label"]) > 40 for picture in pictures)
    assert all(drawn["aria-hidden"] == "true" for drawn in page.all("svg"))


def test_every_header_of_a_table_says_what_it_heads(page):
    headers = page.all("th")
    assert headers
    assert all(header["scope"] in ("row", "col") for header in headers)
    assert len(page.all("table")) == len(page.all("caption"))


def test_the_page_follows_the_width_and_the_light_of_its_reader(text, page):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert "prefers-color-scheme: dark" in text
    assert "var(--ink)" in text[text.index("<svg") :]
    assert not re.search("#0[1-9a]0[2-9b]0[3-9c]", text)  # no colour of the page's theme is left in a picture


def test_the_verdict_stands_before_everything_else(page):
    said = " ".join(page.said).replace("\u00a0", " ")
    places = [
        said.index(words)
        for words in ("The answers, with the", "Verdict at the deadline 1.25 x", "What was run", "All runs")
    ]
    assert places == sorted(places)
    assert "Is early exit worth it here?" in said


def test_names_are_shown_as_they_are(page):
    assert "tiny on a <b>board</b>" in page.said
    assert "b" not in [tag for tag, attributes in page.elements if not attributes.get("class")]


def test_what_is_missing_is_said_and_nothing_fails(page):
    said = " ".join(page.said).replace("\u00a0", " ")
    assert "not asked: run with --rule last" in said
    assert "How good forecasts are was not asked" in said
    assert "What is saved against the stock governor was not asked" in said


def test_energy_is_called_simulated_in_every_table_of_it(page):
    captions = [words for words in page.said if "energy" in words and "deadline" in words]
    assert captions
    assert all("simulated" in words for words in captions)


def test_late_answers_are_listed(page):
    assert "Late answers and answers cut short to be in time: 2 of 22 runs have some" in page.said
    assert "No answer of the 1 runs was late, and none was cut short to be in time." in page.said


def test_runs_with_other_noise_are_not_compared():
    from edgeexit.offline.reporting.selection import split_by_conditions

    parts = split_by_conditions(replay(run(), run(noise="truncated-normal, 10%", guard=1.3), bounds=bounds()))
    assert list(parts) == [
        "periodic requests, no latency noise",
        "periodic requests, latency noise truncated-normal, 10%, guard 1.3",
    ]
    assert [len(part.runs) for part in parts.values()] == [1, 1]
    assert [len(part.bounds) for part in parts.values()] == [2, 0]


@pytest.mark.parametrize(
    "single",
    [
        run(timeline=()),
        run(residency={}),
        run(factor=None),
        run(latency_histogram=((0.0,), ())),
        run(energy_j=Estimate(0.0, 0.0, 0.0)),
        run("last", "powersave", misses=1000),
        run("somebody's", "unheard-of:option=1"),
    ],
)
def test_a_single_run_of_any_kind_can_be_reported(single):
    assert "What was run" in Page(report_page({"one": replay(single)})).said


def test_a_picture_can_be_drawn_for_paper_too():
    names = [drawing.name for drawing in drawings(study())]
    assert names == [
        *("trade-off-1.25", "trade-off-1", "distance", "latency", "timeline", "residency", "exits", "calibration")
    ]
    figure = next(drawings(study())).draw(PRINT)
    assert figure.axes[0].get_xlabel() == "simulated energy for each inference and its period (mJ)"


def test_work_at_the_same_clocks_is_one_stretch():
    assert clock_stretches(run(timeline=STEPS)) == [
        (0.003, 0.045, "727", 8.0),
        (0.125, 0.165, "727", 8.0),
        (0.168, 0.2, "1301", 16.0),
    ]


@pytest.mark.parametrize(
    ("clocks", "short"), [("gpu 114.75 MHz", "115"), ("cpu 1500 MHz, gpu 921.6 MHz", "1500, 922"), ("none", "none")]
)
def test_clocks_are_shortened_for_pictures(clocks, short):
    assert megahertz(clocks) == short


def test_the_interval_of_a_share_is_that_of_wilson():
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0.5, 0) == (0.0, 1.0)
