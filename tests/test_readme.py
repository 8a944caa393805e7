"""The README's example runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

import drpt
from drpt.models.tiny import tiny_model

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_example_without_lightning_trains(device):
    (example,) = re.findall(r"```python\n(.*?import drpt.*?)```", README.read_text(), flags=re.DOTALL)
    assert sum(bool(line.strip()) and not line.startswith(("import", "#")) for line in example.splitlines()) <= 12
    generator = torch.Generator().manual_seed(0)

    def batches():
        for _ in range(3):
            yield torch.randint(0, 200, (8, 12), generator=generator).to(device), tokens

    model = tiny_model().to(device)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    tokens = torch.arange(24, device=device).view(2, 12)

    def target_loss():
        with torch.no_grad():
            return float(drpt.sample_losses(model(input_ids=tokens).logits, tokens, torch.ones_like(tokens).bool()).mean())

    at_start = target_loss()
    exec(example, {"model": model, "batches": batches()})
    assert target_loss() < at_start
    assert all(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_presets_and_keys_are_checked():
    with pytest.raises(ValueError, match=r"preset='layerwise_hul' is not known. Did you mean 'layerwise_hull'\?"):
        drpt.regularizer("layerwise_hul")
    with pytest.raises(ValueError, match=r"key='strenght' is not known. Did you mean 'strength'\?"):
        drpt.regularizer("layerwise_hull", strenght=0.5)
    with pytest.raises(ValueError, match=r"regularizer\.strength=2\.0 must lie in"):
        drpt.regularizer("layerwise_hull", strength=2.0)
    with pytest.raises(ValueError, match="give step_size="):
        drpt.regularizer("global_greats")
    assert drpt.regularizer("global_greats", step_size=1e-4).needs_gramian


def test_rows_are_checked():
    with pytest.raises(ValueError, match="example_ids has 2 entries for num_general=3"):
        drpt.step_rows(num_general=3, num_target=1, step_index=0, example_ids=[1, 2])
    with pytest.raises(ValueError, match=r"sum to 1; they sum to 1\.5"):
        drpt.step_rows(num_general=2, num_target=1, step_index=0, base_weights=torch.tensor([0.5, 1.0]))
    assert drpt.step_rows(num_general=2, num_target=1, step_index=0, example_ids=[7, 4]).general.example_ids.tolist() == [7, 4]


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'regulariser'"):
        drpt.regulariser  # noqa: B018  # asking is what is tested
