#!/usr/bin/env bash
# Makes .venv-hub5: the package (editable) beside JupyterHub 5.5 and SQLAlchemy 2.0, the versions in
# use by Zero to JupyterHub today. The end-to-end tests run a Hub from it.
# Limitations: holds what a Hub needs, no test tools; the Hub's proxy is the one of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/find-python.sh

venv=$PWD/.venv-hub5

[ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable . \
    'jupyterhub==5.5.*' 'sqlalchemy==2.0.*' 'jupyterhub-kubespawner==7.*' 'psycopg[binary]' alembic pyyaml

touch "$venv/.installed"
