"""The architecture: a step, the rooms and who may import whom."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.test_architecture import ORDER  # noqa: E402  # found through the path that is set above

WHERE = {
    "a feasible set": "its file and its entry in `drpt/geometry/catalogue.py`, its preset in `conf/regularizer/`",
    "a score": "its file and its entry in `drpt/geometry/catalogue.py`",
    "a kind of layer": "its file in `drpt/capture/layers/` and its entry in `layers/rules.py`",
    "a way to compute products": "its file in `drpt/capture/products/`, its cost there, its name in `capture/options.py`",
    "a loss": "`drpt/objectives/`",
    "an optimizer": "`drpt/optim/`, with its keys in `drpt/optim/spec.py` and a preset in `conf/optimizer/`",
    "a rollout engine": "its file and its line in `drpt/rollouts/build.py`, its name in `drpt/rollouts/spec.py`",
    "a format of data files": "`drpt/data/formats.py`",
    "a reward or a judge": "`drpt/rewards/` and a preset in `conf/reward/`",
    "a task": "`drpt/tasks/` and a preset in `conf/task/`",
    "a figure of the table": "`drpt/analysis/`",
    "a key": "the `spec.py` of its room, its default in `conf/`, and its kind in `drpt/run_identity.py`",
}

OUTSIDE = {
    "sets and scores": "own_set",
    "layer rules": "own_layer",
    "rewards": "own_reward",
    "tasks, metrics, advantages and policy losses": "own_task",
    "optimizers": "own_optimizer",
    "rollout engines": "own_engine",
}


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Architecture",
        "",
        "## A step",
        "",
        "![One training step](pictures/step.svg)",
        "",
        "The loss of every example goes into the capture as a vector, and the backward pass runs on their sum, so that each "
        "output gradient belongs to one example. As backpropagation passes a layer, the layer's rule computes the inner "
        "products, the geometry turns them into coefficients, and the rule forms the layer's update from the same activations "
        "and output gradients. The gradient of a single example is "
        "formed only in layers so small that this is the cheapest way. "
        "The optimizer receives the update in `.grad`.",
        "",
        "## The rooms",
        "",
        "A room may import itself and the rooms above it in this list; a test parses every import. Modules of `drpt/` outside "
        "the rooms (`checks`, `files`, …) import nothing but each other. Only `app` knows Hydra and W&B; only one file "
        "imports vLLM.",
        "",
        "| room | what is in it |",
        "| --- | --- |",
    ]
    for room in ORDER:
        path = ROOT / "drpt" / room / "__init__.py"
        path = path if path.exists() else ROOT / "drpt" / f"{room}.py"
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        lines.append(f"| `{room}` | {text} |")
    lines += ["", "## Where to add what", "", "| to add | touch |", "| --- | --- |"]
    lines += [f"| {what} | {where} |" for what, where in WHERE.items()]
    lines += [
        "",
        "Code outside the package plugs in by a dotted path: "
        + ", ".join(f"[{what}](how_to/{page}.md)" for what, page in OUTSIDE.items())
        + ". Where it is named, checked and refused is `drpt/plugins.py`.",
    ]
    return "\n".join(lines) + "\n"
