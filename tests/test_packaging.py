"""The wheel is whole: configuration, templates, licence, and a command that finds them away from any checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_file_is_there(site):
    sources = [path.relative_to(ROOT) for path in (ROOT / "drpt").rglob("*") if path.suffix in {".py", ".jinja"}]
    assert [path for path in sources if not (site / path).is_file()] == []
    assert (site / "drpt/py.typed").is_file()  # users' type checkers read our annotations
    presets = [path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.yaml")]
    assert presets
    assert [path for path in presets if not (site / "drpt" / path).is_file()] == []
    assert list(site.glob("drpt-*.dist-info/licenses/LICENSE"))


def test_installed_command_composes_from_its_own_configuration(site, tmp_path):
    code = (
        "import drpt, sys; assert drpt.__file__.startswith(sys.path[0]) or 'site' in drpt.__file__, drpt.__file__\n"
        "from drpt.app.cli import main; main(['train', '--cfg', 'job', 'regularizer=mix', 'sweep=x'])"
    )
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "set: ball" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_installed_command_runs_the_main_job(site, tmp_path):
    """`make demo`'s job, on the tiny model and for two steps."""
    short = ["model=tiny", "regularizer=mix", "trainer.max_steps=2", "evaluation.every_steps=2", "evaluation.num_generate=2"]
    words = ["train", "-m", "experiment=demo", *short, "regularizer.strength=0.5", "logger=off", "data.num_eval=4"]
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"from drpt.app.cli import main; main({words!r})"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mix" in done.stdout
    assert (tmp_path / "runs/demo/report.html").exists()
