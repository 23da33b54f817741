"""The daemon's logs."""

import io
import json
import logging
import warnings

import pytest

from edgeexit.daemon.seeing.logs import RefusalLog, logging_to
from edgeexit.errors import Refused

log = logging.getLogger("edgeexit.daemon.test")


def lines_of(form, level="info", log_them=lambda: None):
    stream = io.StringIO()
    with logging_to(stream, level, form):
        log_them()
    return stream.getvalue().splitlines()


def test_a_line_of_text_has_time_level_and_message():
    (line,) = lines_of("text", log_them=lambda: log.info("ready with %s", "a"))
    assert line[10] == "T"
    assert line[23:] == "Z info: ready with a"


def test_a_line_of_json_has_the_fields():
    (line,) = lines_of("json", log_them=lambda: log.warning("x", extra={"fields": {"status": 404, "level": "no"}}))
    document = json.loads(line)
    assert (document["level"], document["message"], document["status"]) == ("warning", "x", 404)
    assert document["logger"] == "edgeexit.daemon.test"


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_client_sends_stays_within_its_line(form):
    lines = lines_of(form, log_them=lambda: log.info("path %s", "/a\r\n2026 info: forged\x1b[31m\u202e\u2028"))
    assert len(lines) == 1
    assert not {"\x1b", "\u202e", "\u2028"} & set(lines[0])


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_comes_along(form):
    def fail():
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("failed")

    assert "ValueError: why" in "\n".join(lines_of(form, log_them=fail))


def test_less_than_the_level_is_left_out():
    assert lines_of("text", "warning", lambda: log.info("x")) == []


def test_warnings_are_logged():
    (line,) = lines_of("text", log_them=lambda: warnings.warn("mind", UserWarning, stacklevel=1))
    assert line.endswith("warning: mind")


def test_the_program_s_own_handlers_come_back():
    logger = logging.getLogger("edgeexit")
    before = logger.handlers[:], logger.level, logger.propagate
    lines_of("text")
    assert (logger.handlers, logger.level, logger.propagate) == before


def test_a_flood_of_refusals_is_a_line_in_ten_seconds():
    now_s = 0.0
    refusals = RefusalLog(lambda: now_s)

    def flood():
        nonlocal now_s
        for _ in range(25):
            refusals.refused("a", Refused("full"))
            now_s += 1.0

    lines = [line.partition("info: ")[2] for line in lines_of("text", log_them=flood)]
    assert lines == [
        "a request was not answered for a: full",
        "10 requests were not answered, the last for a: full",
        "10 requests were not answered, the last for a: full",
    ]
