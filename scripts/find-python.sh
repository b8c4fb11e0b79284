# Sourced by the other scripts: find_python prints the Python to make virtual environments with.
# $PYTHON wins; otherwise the first of the list that is new enough and can make one.

find_python() {
    local candidate check
    check='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$check" >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    echo "Needs Python 3.11 or newer with its venv module (on Debian: apt install python3 python3-venv)." >&2
    echo "Set PYTHON=/path/to/python to choose one." >&2
    return 1
}
