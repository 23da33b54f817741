#!/usr/bin/env bash
# Installs edgeexit into .venv and runs the demo; arguments go to `edgeexit demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
make_environment .venv '.[images,report]'
exec .venv/bin/python .venv/bin/edgeexit demo "$@"
