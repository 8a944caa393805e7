"""Two checkouts are measured in turns: here, this one beside itself."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_a_checkout_is_measured_beside_itself():
    words = [sys.executable, "-m", "experiments.overhead.against", str(ROOT), "--model", "tiny", "--rounds", "1"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    assert "| layer subset, auto |" in found.stdout
    assert found.stdout.count("[") >= 6


@pytest.mark.long
def test_a_folder_without_a_checkout_is_refused(tmp_path):
    words = [sys.executable, "-m", "experiments.overhead.against", str(tmp_path)]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 2
    assert "give the folder of another checkout" in found.stderr
