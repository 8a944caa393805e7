"""Tables on a terminal: no label and no figure is broken, whatever the width, and no line is wider than the terminal."""

import io

import pytest
from rich.console import Console

from drpt.analysis.sweep import read_sweep
from drpt.analysis.table import columns_of, tabulate
from drpt.analysis.table_formats import as_text, show_cell
from tests.analysis.test_table import make_run

_LABEL = "layerwise_subset λ=0.5"
_LONG = "layerwise_subset λ=0.5 optimizer.lr=0.00012345 trainer.max_steps=12345"


def _rows(folder):
    for seed in (0, 1):
        make_run(folder, "target_only", seed, 3.0 + seed)
        make_run(folder, "layerwise_subset", seed, 2.0 + seed, strength=0.5)
    return tabulate(read_sweep(folder))


def _lines(rows, width):
    text = io.StringIO()
    Console(file=text, width=width).print(as_text(rows, width))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [72, 80, 100, 112, 120, 160, 200])
def test_labels_and_figures_stand_on_one_line_within_the_width(tmp_path, width):
    rows = _rows(tmp_path / "first")
    lines = _lines(rows, width)
    assert max(map(len, lines)) <= width
    (line,) = [line for line in lines if _LABEL in line]
    (row,) = [row for row in rows if row.label == _LABEL]
    primary = columns_of(rows)[0]
    assert show_cell(row, primary) in line
    assert not any("…" in line for line in lines)


def test_labels_without_room_are_numbered_and_listed_below(tmp_path):
    rows = _rows(tmp_path / "first")
    for row in rows:
        if row.label == _LABEL:
            object.__setattr__(row, "label", _LONG)
    lines = _lines(rows, 80)
    assert max(map(len, lines)) <= 80
    (legend,) = [line for line in lines if _LONG in line]
    number = legend.partition(" ")[0]
    assert sum(line.strip().startswith(f"{number} ") for line in lines) == 2  # in the table and below it
