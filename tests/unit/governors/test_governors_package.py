import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_governors_refuse_to_be_imported_under_another_name():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import governors"
    run = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "ImportError: the governors are imported as edgeexit.governors, not as 'governors'" in run.stderr


def test_the_governors_that_ship_are_found_by_name():
    from edgeexit.registry import list_governors, load_governor

    shipped = {
        *("deadline", "fixed", "interactive", "ondemand", "performance", "plan", "power-cap", "powersave"),
        *("predictive-exit", "schedutil", "stock", "temperature-ceiling"),
    }
    options = {
        "fixed": {"frequency_hz": 1},
        "power-cap": {"power_cap_w": 8.0, "governor": load_governor("plan")},
        "temperature-ceiling": {"ceiling_c": 70.0, "governor": load_governor("plan")},
    }
    assert shipped <= set(list_governors())
    for name in shipped:
        assert load_governor(name, **options.get(name, {})).name in {name, f"{name}(plan)"}
