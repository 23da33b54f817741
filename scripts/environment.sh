# Makes a virtual environment with edgeexit in it; sourced by demo.sh and test.sh.
#
#   make_environment FOLDER PACKAGE [PIP OPTION...]
#
# A virtual environment of its own also works where the system's Python refuses pip (Debian, Raspberry Pi OS).
# PYTHON names the interpreter to use; otherwise the newest of 3.14 to 3.10 that is on the PATH.

find_python() {
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3.10 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "edgeexit needs Python 3.10 or newer; set PYTHON to one" >&2
    return 1
}

make_environment() {
    local folder=$1 package=$2 python
    shift 2
    if ! "$folder/bin/python" -c "import pip" 2>/dev/null; then
        python=$(find_python) || return 1
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            install_venv "$python" || return 1
        fi
        "$python" -m venv --clear "$folder" || return 1
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" "$package"
}

install_venv() {
    local package
    package=$("$1" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y "$package"
    else
        echo "this Python cannot make virtual environments; run: sudo apt-get install $package" >&2
        return 1
    fi
}

# One test asks systemd itself how exposed the services are; without it that test is left out.
install_systemd_analyze() {
    if ! command -v systemd-analyze >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y --no-install-recommends systemd || true
    fi
}
