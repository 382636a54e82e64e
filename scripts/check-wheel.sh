#!/usr/bin/env bash
# Installs a wheel into an empty environment, away from the checkout, and uses it as a stranger
# would: the version, then one job on a new SQLite file. Usage: scripts/check-wheel.sh dist/x.whl
set -euo pipefail

if [ $# -ne 1 ] || ! [ -f "$1" ]; then
    echo "usage: $0 WHEEL" >&2
    exit 2
fi
wheel="$(realpath "$1")"
python="$(dirname "$0")/../.venv/bin/python"
[ -x "$python" ] || python=python3
python="$("$python" -c 'import sys; print(sys._base_executable)')"

# What must be inside: every file of the package that is not Python, and the licence.
root="$(realpath "$(dirname "$0")/..")"
inside="$("$python" -m zipfile -l "$wheel" | awk '{print $1}')"
while IFS= read -r file; do
    if ! grep -qxF "$file" <<<"$inside"; then
        echo "check-wheel: $file is missing from the wheel" >&2
        exit 1
    fi
done < <(cd "$root/src" && find flux -type f ! -name '*.pyc' ! -path '*/__pycache__/*')

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
cd "$place"
"$python" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "$wheel" </dev/null

expected="$(basename "$wheel" | cut -d- -f2)"
version="$(venv/bin/flux --version)"
case "$version" in
    *"$expected"*) echo "check-wheel: $version" ;;
    *) echo "check-wheel: 'flux --version' says '$version', the wheel is $expected" >&2; exit 1 ;;
esac

cat >job.py <<'PY'
import asyncio

from flux import Flux

flux = Flux("sqlite:///check.db")


@flux.job
async def add(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with flux.worker(concurrency=1):
        job = await add.enqueue(a=20, b=22)
        result = await job.result(timeout=30)
        assert result == 42, result
        print("check-wheel: one job ran and returned", result)


asyncio.run(main())
PY
env -u DATABASE_URL -u REDIS_URL -u FLUX_BROKER_URL timeout 60 venv/bin/python job.py
echo "check-wheel: the wheel works in an empty environment"
