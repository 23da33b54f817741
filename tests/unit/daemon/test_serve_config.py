"""The daemon's configuration: where values are from, and what a mistake is answered with."""

import json

import pytest

from edgeexit.daemon.config import parse_bundle, served_bundles, service_settings
from edgeexit.daemon.config_sources import read_config
from edgeexit.errors import OptionError


def told(tmp_path, text, name="serve.toml", **rest):
    file = tmp_path / name
    file.write_text(text)
    return read_config(file=file, **rest)


def test_without_anything_all_is_default():
    config, origins, remarks = read_config()
    assert (config.host, config.port, config.governor) == ("127.0.0.1", 8000, "plan")
    assert set(origins.values()) == {"default"}
    assert remarks == ()


def test_flags_go_over_the_environment_and_that_over_the_file(tmp_path):
    environment = {"EDGEEXIT_PORT": "2", "EDGEEXIT_THREADS": "2"}
    text = "port = 1\nthreads = 1\nqueue_limit = 1\n"
    found = told(tmp_path, text, environment=environment, flags=[("port", "--port", "3")])
    assert (found.config.port, found.config.threads, found.config.queue_limit) == (3, 2, 1)
    assert found.origins["port"] == "flag --port"
    assert found.origins["threads"] == "environment EDGEEXIT_THREADS"
    assert found.origins["queue_limit"] == str(tmp_path / "serve.toml")
    assert found.origins["max_batch"] == "default"


def test_json_does_as_well_as_toml(tmp_path):
    settings = {"port": 7, "limits": {"headers": 9}, "bundles": [{"path": "fashion-resnet", "name": "a"}]}
    config = told(tmp_path, json.dumps(settings), "serve.json").config
    assert (config.port, config.limits.headers, config.bundles[0].name) == (7, 9, "a")


def test_a_table_that_names_one_setting_leaves_the_others_at_their_defaults(tmp_path):
    config = told(tmp_path, "[timeouts]\nbody_read_s = 1\n").config
    assert (config.timeouts.body_read_s, config.timeouts.header_read_s) == (1.0, 10.0)


def test_the_environment_reaches_into_tables():
    config = read_config(environment={"EDGEEXIT_LIMITS_BODY_BYTES": "1000", "EDGEEXIT_LOG_LEVEL": "debug"}).config
    assert (config.limits.body_bytes, config.log.level) == (1000, "debug")


def test_none_takes_a_setting_away(tmp_path):
    config = told(tmp_path, 'governor = "none"\nclockd_socket = "none"\n').config
    assert config.governor is None
    assert config.clockd_socket is None


def test_paths_of_a_file_count_from_its_folder(tmp_path):
    text = 'unix = "run/s"\nbundles = ["./a", "fashion-resnet"]\n'
    config = told(tmp_path, text).config
    assert config.unix == tmp_path / "run/s"
    assert [each.path for each in config.bundles] == [f"{tmp_path}/a", "fashion-resnet"]


def test_the_environment_names_bundles_and_options_in_words():
    environment = {"EDGEEXIT_BUNDLES": "fashion-resnet b=/x/y", "EDGEEXIT_GOVERNOR_OPTIONS": "up=0.5 name=a"}
    config = read_config(environment=environment).config
    assert [(each.name, each.path) for each in config.bundles] == [(None, "fashion-resnet"), ("b", "/x/y")]
    assert config.governor_options == {"up": 0.5, "name": "a"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "'prot' is no setting; did you mean 'port'?"),
        ("[limits]\nbody_byte = 1", "'limits.body_byte' is no setting; did you mean 'limits.body_bytes'?"),
        ("body_bytes = 1", "'body_bytes' is no setting; did you mean 'limits.body_bytes'?"),
        ('[[bundles]]\npath = "a"\nthrads = 1', "bundles[0]: 'thrads' is no setting; did you mean 'threads'?"),
        ("zzz = 1", "'zzz' is no setting"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path, text, said):
    with pytest.raises(OptionError, match=r"serve\.toml") as caught:
        told(tmp_path, text)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('port = "80"', "serve.toml: port = '80': must be a whole number"),
        ("port = 70000", "serve.toml: port = 70000: must be a whole number <= 65535"),
        ("latency_budget_s = 0", "latency_budget_s = 0: must be a number > 0.0"),
        ("latency_budget_s = nan", "latency_budget_s = nan: must be a number"),
        ("allowed_drop = inf", "allowed_drop = inf: must be a number"),
        ('unix_mode = "999"', "unix_mode = '999': must be a text matching regex"),
        ("limits = 3", "'limits' must be a table of settings, not 3"),
        ("bundles = 3", "bundles: must be a list of bundles, not 3"),
        ("bundles = [3]", "bundles[0] = 3: must be a table of settings or a text"),
        ('bundles = ["a@x=b"]', "bundles[0]"),
        ('unix = ""', "unix = "),
        ("port = ", "is no TOML"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(tmp_path, text, said):
    with pytest.raises(OptionError) as caught:
        told(tmp_path, text)
    assert said in str(caught.value)


def test_a_bad_value_of_the_environment_names_its_variable():
    with pytest.raises(OptionError, match="environment EDGEEXIT_PORT: port = 'x': must be a whole number"):
        read_config(environment={"EDGEEXIT_PORT": "x"})


def test_a_bad_flag_is_named():
    with pytest.raises(OptionError, match="flag --port: port = '-1'"):
        read_config(flags=[("port", "--port", "-1")])


def test_a_flag_for_no_setting_is_refused():
    with pytest.raises(OptionError, match=r"--set prot: 'prot' is no setting; did you mean 'port'\?"):
        read_config(flags=[("prot", "--set prot", "1")])


def test_a_variable_that_is_nearly_a_setting_is_remarked_on():
    remarks = read_config(environment={"EDGEEXIT_GOVERNER": "plan", "EDGEEXIT_PROFILES": "/x", "PATH": "/"}).remarks
    assert remarks == ("environment: EDGEEXIT_GOVERNER is no setting; did you mean EDGEEXIT_GOVERNOR?",)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"the configuration .*none\.toml cannot be read: No such file"):
        read_config(file=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("fashion-resnet", {"path": "fashion-resnet"}),
        ("./a=b/c", {"path": "./a=b/c"}),
        ("cat=/x/y=z", {"path": "/x/y=z", "name": "cat"}),
        ("cat@2=/x", {"path": "/x", "name": "cat", "version": "2"}),
    ],
)
def test_a_bundle_of_the_command_line(text, settings):
    assert parse_bundle(text) == settings


def config_of(*bundles, **flags):
    given = [("bundles", "BUNDLE", list(bundles)), *((key, f"--{key}", value) for key, value in flags.items())]
    return read_config(flags=given).config


def test_a_bundle_is_called_by_its_folder_unless_it_is_given_a_name():
    served = served_bundles(config_of("/x/my-bundle/", "cat@2=/x/my-bundle"))
    assert [(each.name, each.version) for each in served] == [("my-bundle", "1"), ("cat", "2")]


def test_what_a_bundle_leaves_open_is_as_the_top_says(tmp_path):
    text = 'threads = 3\nexit_rule = "fixed"\n[[bundles]]\npath = "a"\n[[bundles]]\npath = "b"\nthreads = 1\n'
    first, second = served_bundles(told(tmp_path, text).config)
    assert (first.threads, first.exit_rule) == (3, "fixed")
    assert (second.threads, second.exit_rule) == (1, "fixed")


@pytest.mark.parametrize(
    ("bundles", "said"),
    [
        ((), "there is nothing to serve"),
        (("/a/x", "/b/x"), "model 'x' version 1 is given twice"),
        (("stats=/a",), "cannot be called 'stats'"),
        (("/a/two words",), "cannot be called 'two words'"),
    ],
)
def test_what_cannot_be_served_is_refused(bundles, said):
    with pytest.raises(OptionError, match=said):
        served_bundles(config_of(*bundles))


def test_more_bundles_than_allowed_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"2 bundles are more than limits\.models = 1"):
        served_bundles(told(tmp_path, 'bundles = ["a", "b"]\n[limits]\nmodels = 1\n').config)


def test_the_service_is_told_what_the_configuration_says():
    settings = service_settings(config_of("a", governor="none", queue_limit="5", latency_budget_s="0.02"))
    assert (settings.governor, settings.queue_limit, settings.latency_budget_s) == (None, 5, 0.02)
