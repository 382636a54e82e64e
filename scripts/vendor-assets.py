#!/usr/bin/env python3
"""Put the browser libraries of the dashboard where it serves them from, with licences and a manifest.

    scripts/vendor-assets.py           fetch the pinned versions with `npm pack` and write them
    scripts/vendor-assets.py --check   say whether what lies there is what the manifest names; no network

There is no build step: the files are the packages' own ES modules, unchanged.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "src" / "flux" / "dashboard" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"

# package, version, licence, {file in the package: file here}
PACKAGES = [
    ("idiomorph", "0.8.0", "0BSD", {"dist/idiomorph.esm.js": "idiomorph.js", "LICENSE": "idiomorph.LICENSE"}),
    (
        "uplot",
        "1.6.32",
        "MIT",
        {
            "dist/uPlot.esm.js": "uplot.js",
            "dist/uPlot.min.css": "uplot.css",
            "LICENSE": "uplot.LICENSE",
        },
    ),
]


def fetch() -> None:
    """Fetch every package and write its files and the manifest."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    manifest = []
    for name, version, licence, wanted in PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            packed = subprocess.run(
                ["npm", "pack", "--silent", f"{name}@{version}"],
                cwd=scratch, check=True, capture_output=True, text=True,
            )  # fmt: skip
            files = {}
            with tarfile.open(Path(scratch, packed.stdout.split()[-1])) as archive:
                for inside, here in wanted.items():
                    member = archive.extractfile(f"package/{inside}")
                    if member is None:
                        raise SystemExit(f"{name}@{version} has no {inside}")
                    content = member.read()
                    (VENDOR / here).write_bytes(content)
                    files[here] = hashlib.sha256(content).hexdigest()
        manifest.append({"package": name, "version": version, "licence": licence, "files": files})
        print(f"{name} {version} ({licence}): {', '.join(files)}")
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def problems() -> list[str]:
    """What differs between the manifest, the pins above and the files."""
    found = []
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    pinned = {(name, version, licence) for name, version, licence, _ in PACKAGES}
    listed = {(entry["package"], entry["version"], entry["licence"]) for entry in manifest}
    if pinned != listed:
        found.append(f"the manifest lists {sorted(listed)}, the script pins {sorted(pinned)}")
    known = {MANIFEST.name}
    for entry in manifest:
        for name, digest in entry["files"].items():
            known.add(name)
            file = VENDOR / name
            if not file.exists():
                found.append(f"{name} is missing")
            elif hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                found.append(f"{name} is not the file that was vendored")
    found += [f"{file.name} is not in the manifest" for file in VENDOR.iterdir() if file.name not in known]
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        wrong = problems()
        print("\n".join(wrong) or "all vendored files are as listed")
        sys.exit(bool(wrong))
    fetch()
