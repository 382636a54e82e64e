"""What lies in static/vendor is what was vendored, with its licences, and nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_vendored_file_is_the_one_of_the_manifest() -> None:
    script = ROOT / "scripts" / "vendor-assets.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pages_load_nothing_from_elsewhere() -> None:
    dashboard = ROOT / "src" / "flux" / "dashboard"
    ours = [*dashboard.glob("templates/*"), *dashboard.glob("static/css/*"), *dashboard.glob("static/js/*")]
    assert len(ours) > 15
    for file in ours:
        text = file.read_text(encoding="utf-8").replace('"http://www.w3.org/2000/svg"', "")
        assert "http://" not in text, file
        assert "https://" not in text, file


def test_templates_have_no_inline_script_or_style() -> None:
    for file in (ROOT / "src" / "flux" / "dashboard" / "templates").iterdir():
        text = file.read_text(encoding="utf-8")
        assert "<style" not in text, file
        assert " style=" not in text, file
        assert " onclick" not in text, file
        assert "|safe" not in text, file
        assert text.count("<script") == text.count('<script type="module" src='), file
