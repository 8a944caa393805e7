import subprocess
import sys

import pytest

from drpt.rl.choices import (
    ADVANTAGES,
    KL_GRADIENTS,
    NORMALISATIONS,
    TARGET_OBJECTIVES,
    Advantage,
    KlGradient,
    Normalisation,
    TargetObjective,
)


@pytest.mark.parametrize(
    ("names", "meanings"),
    [
        (Advantage, ADVANTAGES),
        (Normalisation, NORMALISATIONS),
        (TargetObjective, TARGET_OBJECTIVES),
        (KlGradient, KL_GRADIENTS),
    ],
)
def test_every_name_has_its_meaning(names, meanings):
    assert [name.value for name in names] == list(meanings)
    assert names(list(meanings)[-1].lower()) in meanings


def test_no_torch_is_needed():
    command = "import sys, drpt.rl.choices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
