"""Imports point one way, and heavy or optional packages stay where they belong."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent / "drpt"
# Each room may import itself and the rooms before it.
ORDER = (
    "geometry",
    "capture",
    "objectives",
    "optim",
    "models",
    "data",
    "rollouts",
    "rewards",
    "evaluation",
    "rl",
    "modules",
    "tasks",
    "run_identity",
    "analysis",
    "app",
)
FREE = {
    "checks",
    "errors",
    "files",
    "interruption",
    "journal",
    "kinds",
    "memory",
    "metrics",
    "plugins",
    "renamed",
    "storage",
    "timed_worker",
}  # single modules that import nothing of ours but each other
ONLY_IN = {
    "lightning": {"modules", "tasks/assembly.py", "app/training.py", "app/tracking.py", "data/module.py"},
    "hydra": {"app"},
    "omegaconf": {"app"},
    "peft": {"models"},
    "math_verify": {"rewards/mathematics/formulas.py"},
    "reasoning_gym": {"data/reasoning.py", "data/reasoning_scores.py", "data/reasoning_rules.py"},
    "profanity_check": {"rewards/offensive.py"},
    "vaderSentiment": {"rewards/sentiment.py"},
    "vllm": {"rollouts/vllm_engine.py"},
    "wandb": {"app"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            yield node.module


FILES = sorted(ROOT.rglob("*.py"))


def test_there_is_something_to_look_at():
    assert len(FILES) > 40


def test_imports_point_one_way():
    for path in FILES:
        place = path.relative_to(ROOT)
        if str(place) == "__init__.py":  # names of all rooms, for whoever imports drpt; loaded when asked for
            continue
        for name in imports(path):
            if not name.startswith("drpt."):
                continue
            room = name.split(".")[1]
            if room in FREE:
                continue
            assert str(place.with_suffix("")) not in FREE, f"{place} imports {name}"
            own, other = ORDER.index(place.with_suffix("").parts[0]), ORDER.index(room)
            assert other <= own, f"{place} imports {name}, against the order {' ← '.join(ORDER)}"


def module_of(path):
    return ".".join(["drpt", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def test_no_file_imports_itself_by_way_of_others():
    names = {module_of(path) for path in FILES} - {"drpt"}
    found = {}
    for path in FILES:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        imported = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names} | {node.module for node in nodes}
        found[module_of(path)] = (imported & names) - {module_of(path)}
    del found["drpt"]  # names of all rooms, for whoever imports drpt; loaded when asked for
    list(TopologicalSorter(found).static_order())


def test_packages_stay_in_their_rooms():
    for path in FILES:
        place = path.relative_to(ROOT)
        for name in imports(path):
            rooms = ONLY_IN.get(name.split(".")[0])
            if rooms is not None:
                assert place.parts[0] in rooms or str(place) in rooms, f"{place} imports {name}"


def test_geometry_knows_torch_alone():
    for path in (ROOT / "geometry").glob("*.py"):
        foreign = {name.split(".")[0] for name in imports(path)} - {"torch", "jaxtyping", "drpt"}
        standard = {"abc", "collections", "dataclasses", "functools", "importlib", "inspect", "itertools", "math", "typing"}
        assert foreign <= standard, f"{path.name}: {foreign - standard}"


MIRRORED = ("geometry",)  # rooms of which every module has a file of tests of its name, see tests/README.md


def test_every_module_has_a_file_of_tests_of_its_name():
    tests = Path(__file__).parent
    for room in MIRRORED:
        modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
        missing = sorted(name for name in modules if not (tests / room / f"test_{name}.py").is_file())
        assert not missing, f"tests/{room}/ has no tests of {', '.join(missing)}"
