"""Folders of as many runs as a large sweep has, copied from one that was really trained.

python -m tests.analysis.many_runs TEMPLATE SWEEP [NUMBER]
"""

import json
import os
import sys
from pathlib import Path

import yaml

from drpt.analysis.run import CHECKED_FILES
from drpt.analysis.run_files import checksums_of

SEEDS, STEPS = 5, 400  # seeds a point; steps whose lines of metrics a run has


def make_many(template, sweep, num_runs):
    """Runs of other strengths and seeds, each with its own figures; long metrics are linked instead of copied.

    Args:
        template: A finished run's folder; its regularizer has a strength.
        sweep: Folder of the new sweep.
        num_runs: How many; a multiple of SEEDS.

    Returns:
        The sweep's folder.
    """
    template, sweep = Path(template), Path(sweep)
    sweep.mkdir(parents=True)
    config = yaml.safe_load((template / "config.yaml").read_text())
    summary = json.loads((template / "summary.json").read_text())
    lines = (template / "metrics.jsonl").read_text().splitlines(keepends=True)
    of_a_step = [line for line in lines if json.loads(line)["step"] == 1]
    (sweep / "metrics.jsonl.long").write_text("".join(of_a_step) * STEPS + "".join(lines))
    names = []
    for number in range(num_runs):
        point, seed = divmod(number, SEEDS)
        strength = (point + 1) / (num_runs // SEEDS)
        names.append(f"{config['regularizer']['name']}-{strength:g}-seed{seed}-{number:010x}")
        folder = sweep / names[-1]
        folder.mkdir()
        config |= {"seed": seed, "sweep": sweep.name}
        config["regularizer"]["strength"] = strength
        (folder / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        final = {name: value * (1 + 0.001 * number) for name, value in summary["final"].items()}
        os.link(sweep / "metrics.jsonl.long", folder / "metrics.jsonl")
        for name in ("data.json", "environment.json", "samples.json"):
            (folder / name).write_bytes((template / name).read_bytes())
        own = {"final": final, "label": f"many λ={strength:g}", "checksums": checksums_of(folder, CHECKED_FILES)}
        (folder / "summary.json").write_text(json.dumps(summary | own, indent=1))
    record = {"folder": str(Path.cwd()), "words": ["-m", f"sweep={sweep.name}"], "jobs": dict.fromkeys(names, "")}
    (sweep / "commands.jsonl").write_text(json.dumps(record) + "\n")
    return sweep


if __name__ == "__main__":
    make_many(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2000)
