#!/usr/bin/env bash
# Puts PostgreSQL, Redis and PgBouncer on this machine for the tests and `make db-up`, once.
#
# Only the programs are wanted: no cluster is made, no service is started or left enabled, and nothing
# that runs already is touched. Exit code: 0 when all three are there at the end, 1 when they are not and
# could not be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
[ -x "$python" ] || python=python3
look() { "$python" -m scripts.servers programs; }

if found="$(look 2>&1)"; then
    echo "servers: $found" | head -n 1
    exit 0
fi
echo "$found" >&2

packages=(postgresql redis-server pgbouncer)
if ! command -v apt-get >/dev/null 2>&1; then
    echo "servers: no apt-get here; install PostgreSQL (15 or newer), Redis 7 (or Valkey) and PgBouncer" >&2
    echo "servers: with Homebrew: brew install postgresql@17 redis pgbouncer" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "servers: run 'sudo scripts/install-servers.sh' once" >&2
        exit 1
    fi
fi

# Debian's packages make a cluster on 5432 and start services when they are unpacked; these two files,
# taken away again afterwards, tell them not to.
no_cluster=/etc/postgresql-common/createcluster.d/flux-no-cluster.conf
no_services=/usr/sbin/policy-rc.d
made=()
log="$(mktemp)"
clean() {
    rm -f "$log"
    for file in "${made[@]}"; do "${as_root[@]}" rm -f "$file"; done
}
trap clean EXIT
make_file() {  # PATH MODE TEXT
    [ -e "$1" ] && return
    "${as_root[@]}" mkdir -p "$(dirname "$1")"
    made+=("$1")
    printf '%s\n' "$3" | "${as_root[@]}" tee "$1" >/dev/null
    "${as_root[@]}" chmod "$2" "$1"
}
make_file "$no_cluster" 644 'create_main_cluster = false'
make_file "$no_services" 755 $'#!/bin/sh\nexit 101'

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done

echo "servers: installing ${missing[*]} (once, about a minute)"
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
if ! {
    "${as_root[@]}" "${apt[@]}" update &&
        "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
} >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "servers: ${missing[*]} could not be installed (apt's last lines are above)" >&2
    exit 1
fi
if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
        # Without this they would start with the next boot, Redis on our port. PostgreSQL has no cluster to start.
        [ "$package" = postgresql ] || "${as_root[@]}" systemctl disable --quiet "$package" >/dev/null 2>&1 || true
    done
fi

found="$(look)"
echo "servers: $found" | head -n 1
