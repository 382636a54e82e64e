#!/usr/bin/env bash
# Puts Debian's Chromium on this machine for the browser tests, once.
#
# The tests drive the system's browser (/usr/bin/chromium, or what FLUX_TEST_BROWSER
# names) and never a build that a test tool downloads for itself. Exit code: 0 when a
# browser is there at the end, 1 when it is not and could not be installed.
set -euo pipefail

browser="${FLUX_TEST_BROWSER:-/usr/bin/chromium}"

if [ -x "$browser" ]; then
    echo "browser: $browser is there"
    exit 0
fi

if [ -n "${FLUX_TEST_BROWSER:-}" ]; then
    echo "browser: FLUX_TEST_BROWSER names $browser, which is not there" >&2
    exit 1
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "browser: no $browser and no apt-get; install Chromium and set FLUX_TEST_BROWSER to its path" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "browser: no $browser; run 'sudo apt-get install -y --no-install-recommends chromium' once" >&2
        exit 1
    fi
fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
echo "browser: installing chromium (once, about a minute)"
if ! {
    # Another apt on the machine may hold the lock for a while: wait for it.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium
} >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "browser: chromium could not be installed (its last lines are above)" >&2
    exit 1
fi
echo "browser: $("$browser" --version 2>/dev/null || echo "$browser")"
