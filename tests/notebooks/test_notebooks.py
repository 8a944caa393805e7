"""Notebooks are stored without outputs and run on a fresh sweep."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.app.conftest import TINY, drpt  # noqa: F401  # a fixture

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_notebook_runs(path, drpt, monkeypatch):  # noqa: F811
    status, text = drpt("train", "-m", *TINY, "regularizer=full,layerwise_subset", "sweep=notebook")
    assert status == 0, text
    monkeypatch.setenv("DRPT_SWEEP", str(Path("runs/notebook").absolute()))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
