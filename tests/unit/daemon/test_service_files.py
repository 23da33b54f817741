"""What `edgeexit install-service` does to a machine, on a folder that stands for one."""

import stat

import pytest

from edgeexit.daemon.config import served_bundles
from edgeexit.daemon.config_sources import read_config
from edgeexit.daemon.service_files import CONFIG, TOKEN, install, install_plan, printed, remove, why_unreachable
from edgeexit.errors import ServeError

PROGRAM = ("/opt/edgeexit/bin/python", "-I", "-m", "edgeexit")


class Machine:
    """A folder that stands for a machine; notes the commands that were run on it."""

    def __init__(self, root):
        self.root = root
        self.ran = []

    def run(self, command):
        self.ran.append(" ".join(command))

    def install(self):
        return list(install(self.plan, self.run, self.root))

    def remove(self):
        return list(remove(self.plan, self.run, self.root))

    @property
    def plan(self):
        return install_plan(PROGRAM, self.root)

    def files(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def has(self, device):
        (self.root / device).parent.mkdir(parents=True, exist_ok=True)
        (self.root / device).touch()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_everything_that_is_installed_is_removed_again(machine):
    machine.install()
    assert len(machine.files()) == 6
    machine.remove()
    assert machine.files() == []
    assert not (machine.root / "etc/edgeexit").exists()


def test_the_services_are_started_last_and_stopped_first(machine):
    machine.install()
    assert machine.ran[-2:] == [
        "systemctl daemon-reload",
        "systemctl enable --now edgeexit-clockd.service edgeexit-server.service",
    ]
    machine.ran.clear()
    machine.remove()
    assert machine.ran == [
        "systemctl disable --now edgeexit-server.service edgeexit-clockd.service",
        "systemctl daemon-reload",
        "userdel edgeexit",
    ]


def test_the_token_is_long_new_and_the_user_s_alone(machine, tmp_path_factory):
    machine.install()
    other = Machine(tmp_path_factory.mktemp("other"))
    other.install()
    token = (machine.root / TOKEN).read_text()
    assert len(token.strip()) == 64
    assert token != (other.root / TOKEN).read_text()
    assert stat.S_IMODE((machine.root / TOKEN).stat().st_mode) == 0o400
    assert f"chown edgeexit:edgeexit {machine.root / TOKEN}" in machine.ran


def test_installing_again_keeps_token_and_configuration(machine):
    machine.install()
    token = (machine.root / TOKEN).read_text()
    (machine.root / CONFIG).write_text("port = 9\n")
    machine.install()
    assert (machine.root / TOKEN).read_text() == token
    assert (machine.root / CONFIG).read_text() == "port = 9\n"


def test_a_configuration_that_was_changed_outlives_the_service(machine):
    machine.install()
    (machine.root / CONFIG).write_text("port = 9\n")
    assert f"kept {machine.root / CONFIG}: you have changed it" in machine.remove()
    assert machine.files() == [CONFIG]


def test_bundles_outlive_the_service(machine):
    machine.install()
    machine.has("var/lib/edgeexit/bundles/mine/manifest.json")
    machine.remove()
    assert machine.files() == ["var/lib/edgeexit/bundles/mine/manifest.json"]


def test_the_group_of_people_who_set_clocks_is_kept(machine):
    machine.install()
    machine.has("etc/tmpfiles.d/edgeexit.conf")
    machine.ran.clear()
    machine.remove()
    assert "userdel edgeexit" not in machine.ran


@pytest.mark.parametrize(
    ("device", "additions"),
    [
        ("dev/vcio", ["edgeexit-server.service.d/50-raspberry-pi.conf"]),
        (
            "dev/nvidiactl",
            ["edgeexit-clockd.service.d/50-nvidia-clockd.conf", "edgeexit-server.service.d/50-nvidia-server.conf"],
        ),
    ],
)
def test_a_board_s_own_devices_are_opened_to_the_services(machine, device, additions):
    machine.has(device)
    machine.install()
    found = [name for name in machine.files() if ".service.d/" in name]
    assert found == [f"etc/systemd/system/{name}" for name in additions]
    machine.remove()
    assert machine.files() == [device]


def test_a_command_that_fails_stops_the_installation(machine):
    def fail(command):
        raise ServeError("no such command")

    with pytest.raises(ServeError):
        list(install(machine.plan, fail, machine.root))


def test_removing_goes_on_where_there_is_nothing_to_stop(machine):
    machine.install()

    def fail(command):
        raise ServeError(f"{command[0]} failed: not loaded")

    assert "passed over: systemctl failed: not loaded" in list(remove(machine.plan, fail, machine.root))
    assert machine.files() == []


def test_what_is_printed_holds_every_file_and_command_but_no_token(machine):
    text = "\n".join(printed(machine.plan))
    for file in machine.plan.files:
        assert f"# file /{file.path} " in text
        assert file.text in text
    assert "# run systemctl enable --now" in text
    assert machine.files() == []


def test_the_configuration_that_ships_can_be_served(machine):
    machine.install()
    config = read_config(file=machine.root / CONFIG).config
    assert [each.name for each in served_bundles(config)] == ["fashion-resnet"]
    assert str(config.token_file) == "/etc/edgeexit/token"


def test_a_program_with_odd_characters_is_quoted_for_systemd(tmp_path):
    plan = install_plan(("/opt/my edge%exit$/python",), tmp_path)
    unit = next(file.text for file in plan.files if file.path.endswith("edgeexit-server.service"))
    assert 'ExecStart="/opt/my edge%%exit$$/python" serve ' in unit


@pytest.mark.parametrize("program", ["/home/pi/venv/bin/python", "/root/x/python"])
def test_an_edgeexit_that_the_services_cannot_see_is_told_apart(program):
    assert "install edgeexit where all users can read it" in why_unreachable(program, "/opt/x")


def test_an_edgeexit_that_the_services_can_see_is_fine(tmp_path):
    assert why_unreachable("/opt/edgeexit/bin/none", "/opt/edgeexit") is None
