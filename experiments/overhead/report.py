"""Renders tables and pictures from the files of results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from drpt.files import write_atomically
from experiments.overhead.breakdown import FLOORS
from experiments.overhead.breakdown import PARTS as STEP_PARTS
from experiments.overhead.chart import draw_breakdown, draw_growth, draw_steps
from experiments.overhead.goals import Goal, check, choice_seconds, live_ratio, median_parts, memory_ratio
from experiments.overhead.layers import LAYER_SETTINGS, STANDARD_ITEMS, TINY_LAYER_SETTINGS, LayerSetting
from experiments.overhead.settings import BREAKDOWN_SETTINGS, GROWTH, MEMORY_SETTINGS, SHAPES, STEP_SETTINGS, Setting
from experiments.overhead.store import RESULTS, Record, load_all
from experiments.overhead.timing import Ratio, median_or_none, ratio
from experiments.overhead.variants import ALL_VARIANTS, GROWTH_VARIANTS, STANDARD, SUBSET_AUTO, SUBSET_SKETCH, WIDER
from experiments.readme import fill_section

_README = Path(__file__).parent / "README.md"


def write_report(folder: Path) -> list[Path]:
    """Write tables into README.md, or into ``report.md`` for other folders than the experiment's own; and the pictures.

    Args:
        folder: Folder of results.

    Returns:
        Paths of the written files.

    Raises:
        FileNotFoundError: There are no results.
    """
    results = load_all(folder)
    if not results:
        raise FileNotFoundError(f"{folder} has no results: measure first (python -m experiments.overhead.measure).")
    is_own = folder.resolve() == RESULTS.resolve()
    place = _README.parent if is_own else folder
    drawn = {"steps.png": draw_steps(results), "breakdown.png": draw_breakdown(results), "growth.png": draw_growth(results)}
    pictures = {name: image for name, image in drawn.items() if image is not None}
    text = render(results, list(pictures))
    written = [_README if is_own else folder / "report.md"]
    if is_own:
        fill_section(_README, "results", text)
    else:
        write_atomically(written[0], text)
    for name, image in pictures.items():
        write_atomically(place / name, image)
        written.append(place / name)
    return written


def render(results: Mapping[str, Record], pictures: Sequence[str] = ()) -> str:
    """Render all tables.

    Args:
        results: Records by name.
        pictures: File names of existing pictures.

    Returns:
        The tables in Markdown.
    """
    sections = [
        _provenance(results),
        "### Goals\n\n" + _goals(check(results)),
        _picture("steps.png", "Step time over a standard step's, by variant and setting", pictures),
        *(_steps(results[name]) for name in _names("steps", SHAPES) if name in results),
        *(_steps_by_shape(results, trained) for trained in dict.fromkeys(s.trained for s in STEP_SETTINGS[len(SHAPES) :])),
        _picture("breakdown.png", "Where the seconds of a step go", pictures),
        *(_breakdown(results[name]) for name in _names("breakdown", BREAKDOWN_SETTINGS) if name in results),
        *(_memory(results[name]) for name in _names("memory", MEMORY_SETTINGS) if name in results),
        *(_layers(results, precision) for precision in ("fp32", "bf16")),
        _picture("growth.png", "Step time over a standard step's as n, T and m grow, beside the operation count", pictures),
        _growth(results),
        _failures(results),
    ]
    return "\n".join(section + "\n" for section in sections if section)


def _names(part: str, settings: Iterable[object]) -> list[str]:
    return [f"{part}-{setting.key}" for setting in settings]  # type: ignore[attr-defined]  # Setting or LayerSetting


def _picture(name: str, text: str, pictures: Sequence[str]) -> str:
    return f"![{text}]({name})" if name in pictures else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _provenance(results: Mapping[str, Record]) -> str:
    def every(*keys: str) -> str:
        found = []
        for record in results.values():
            value = record["environment"]
            for key in keys:
                value = (value or {}).get(key)
            found.append(str(value))
        return ", ".join(dict.fromkeys(found))

    models = ", ".join(dict.fromkeys(record["model"] for record in results.values()))
    commits = ", ".join(f"`{commit}`" for commit in every("commit").split(", "))
    minutes = sum(record["took_seconds"] for record in results.values()) / 60
    return (
        f"{models}; {every('cpu')}, {every('cpus')} CPUs, {every('threads')} threads; torch {every('packages', 'torch')}, "
        f"transformers {every('packages', 'transformers')}; commit {commits}; {minutes:.0f} minutes."
    )


def _goals(goals: Sequence[Goal]) -> str:
    rows = [
        (
            goal.text,
            f"≤ {goal.bound:.2f}",
            _spread(goal.found),
            "" if goal.limit is None else f"{goal.limit:.2f}",
            f"**{goal.verdict}**",
        )
        for goal in goals
    ]
    return _table(("goal", "bound", "found", "count's limit", "verdict"), rows)


def _spread(found: Ratio | None) -> str:
    if found is None:
        return "–"
    if found.low == found.high:
        return f"{found.median:.3f}"
    return f"{found.median:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _steps(record: Record) -> str:
    variants, counts = record["variants"], record["operations"]
    rows = []
    for name, variant in variants.items():
        over_n = ratio(variant["seconds"], variants[STANDARD.name]["seconds"])
        over_all = ratio(variant["seconds"], variants[WIDER.name]["seconds"])
        counted = counts[name]
        count_ratio = (counted["free"] + counted["products"]) / counted["standard"]
        rows.append(
            (
                name,
                _number(median_or_none(variant["seconds"]), 2),
                _spread(over_n),
                "–" if over_all is None else f"{over_all.median:.3f}",
                f"{count_ratio:.3f}",
                "–" if over_n is None else f"{over_n.median / count_ratio:.2f}",
                _number(live_ratio(variants, name, WIDER), 3),
                str(max(variant["page_faults"], default="–")),
                str(max(variant.get("preemptions", ()), default="–")),
            )
        )
    head = (
        "step",
        "median s",
        "over `full`, n rows",
        "over n + m rows",
        "count",
        "found / count",
        "memory over n + m rows",
        "most page faults",
        "most preemptions",
    )
    return f"### Step time and memory: {_label(record)}\n\n{_rounds(record)}\n\n{_table(head, rows)}"


def _steps_by_shape(results: Mapping[str, Record], trained: str) -> str:
    """A table with a row for each variant and three columns for each shape."""
    found = {s: results[f"steps-{s.key}"] for s in STEP_SETTINGS if s.trained == trained and f"steps-{s.key}" in results}
    if not found:
        return ""
    names = [variant.name for variant in ALL_VARIANTS if any(variant.name in record["variants"] for record in found.values())]
    rows = [[name, *(cell for record in found.values() for cell in _cells(record, name))] for name in names]
    columns = ("time over n rows (count)", "over n + m rows", "memory over n + m rows")
    head = ["", *(f"{setting.shape}: {column}" for setting in found for column in columns)]
    notes = [_note(setting, record) for setting, record in found.items()]
    return "\n\n".join((f"### Step time and memory: {trained}", "\n".join(notes), _table(head, rows)))


def _cells(record: Record, name: str) -> list[str]:
    variants = record["variants"]
    if name not in variants:
        return ["", "", ""]
    over_n, over_all = (ratio(variants[name]["seconds"], variants[base.name]["seconds"]) for base in (STANDARD, WIDER))
    counted = record["operations"][name]
    time = "–" if over_n is None else f"{over_n.median:.2f}"
    return [
        f"{time} ({(counted['free'] + counted['products']) / counted['standard']:.2f})",
        "–" if over_all is None else f"{over_all.median:.2f}",
        _number(live_ratio(variants, name, WIDER), 3),
    ]


def _note(setting: Setting, record: Record) -> str:
    standard = median_or_none(record["variants"][STANDARD.name]["seconds"])
    faults, preemptions = _worst(record["variants"])
    return (
        f"- {setting.shape}: `full` on n rows {_number(standard, 2)} s; {_rounds(record)[:-1]}; most page faults {faults}, "
        f"most preemptions {preemptions}."
    )


def _worst(variants: Mapping[str, Record]) -> list[str]:
    """Largest numbers of page faults and preemptions of any variant in any counted round."""
    counts = [[c for variant in variants.values() for c in variant.get(what, ())] for what in ("page_faults", "preemptions")]
    return [str(max(own, default="–")) for own in counts]


def _label(record: Record) -> str:
    setting = record["setting"]
    shape = f"n={setting['num_general']}, m={setting['num_target']}, T={setting['num_tokens']}"
    return f"{shape}, {'LoRA' if setting['finetune'] == 'lora' else 'full'}, {setting['precision']}"


def _rounds(record: Record) -> str:
    rounds, environment = record["rounds"], record["environment"]
    return (
        f"{rounds} round{'s' if rounds > 1 else ''} after {record['warm_ups']} to warm up; {environment['cpu']}, "
        f"commit `{environment['commit']}`."
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _breakdown(record: Record) -> str:
    variants = record["variants"]
    floors = {name: median_parts(variants[name]) for name in FLOORS}
    rows = []
    for name, variant in variants.items():
        if not variant["parts"]:
            rows.append((name, *["–"] * (len(STEP_PARTS) + 2)))
            continue
        parts = median_parts(variant)
        base = variants[SUBSET_AUTO.name if name.endswith(", auto") else SUBSET_SKETCH.name]
        choice = ratio(choice_seconds(variant), choice_seconds(base)) if "products" in parts else None
        total = median(sum(round_.values()) for round_ in variant["parts"])
        shown = [_number(parts.get(part), 3) if part in parts else "" for part in STEP_PARTS]
        rows.append((name, *shown, _number(total, 3), "" if choice is None else f"{choice.median:.2f}"))
    gradient = [
        f"{name}: {median_parts(variants[name])['backward'] - floors[floor]['backward']:.3f} s"
        for name, floor in zip((STANDARD.name, WIDER.name), FLOORS, strict=True)
        if variants[name]["parts"] and variants[floor]["parts"]
    ]
    head = ("seconds", *STEP_PARTS, "sum", "products + solve over subset's")
    note = (
        "`backward` is that of activations where something is recorded, and holds the weight gradient of standard steps "
        f"(less the floor's: {'; '.join(gradient)}). `capture` is bookkeeping. Parts are medians, `sum` the median of sums."
    )
    return f"### Breakdown: {_label(record)}\n\n{_rounds(record)}\n\n{_table(head, rows)}\n\n{note}"


def _memory(record: Record) -> str:
    rows = []
    for name, variant in record["variants"].items():
        if variant.get("error"):
            rows.append((name, *["–"] * 4))
            continue
        mib = [(variant["peak"] - variant[above]) / 2**20 for above in ("held", "held_between")]
        ratios = [memory_ratio(record["variants"], name, above) for above in ("held", "held_between")]
        rows.append((name, f"{mib[0]:.0f}", _number(ratios[0], 3), f"{mib[1]:.0f}", _number(ratios[1], 3)))
    head = (
        "peak of a step, MiB",
        "gradients, activations, AdamW",
        f"over {WIDER.name}",
        "without AdamW's moments",
        f"over {WIDER.name}",
    )
    return f"### Resident memory: {_label(record)}\n\n{_table(head, rows)}"


def _layers(results: Mapping[str, Record], precision: str) -> str:
    """A table with a row for each product and a column for each layer, relative to the three standard products."""
    names = [f"layers-{setting.key}" for setting in (*LAYER_SETTINGS, *TINY_LAYER_SETTINGS) if setting.precision == precision]
    records = [results[name] for name in names if name in results]
    if not records:
        return ""
    settings = [LayerSetting(**record["setting"]) for record in records]
    standards = [_standard_seconds(record) for record in records]
    items = list(dict.fromkeys(name for record in records for name in record["items"]))
    rows = [["the standard three, ms", *("–" if seconds is None else f"{1000 * seconds:.1f}" for seconds, _ in standards)]]
    rows += [
        [item, *(_layer_cell(record, item, *own) for record, own in zip(records, standards, strict=True))] for item in items
    ]
    for need in dict.fromkeys(need for record in records for need in record["auto"]):
        rows.append([f"{need}: `auto` takes", *(record["auto"].get(need, "") for record in records)])
    head = ("over the standard three (count)", *(f"{s.outputs}×{s.inputs}, m={s.num_target}" for s in settings))
    where = f"n={settings[0].num_general}, T={settings[0].num_tokens}, {precision}"
    return f"### One linear layer (outputs×inputs): {where}\n\n{_rounds(records[0])}\n\n{_table(head, rows)}"


def _standard_seconds(record: Record) -> tuple[float | None, int]:
    """Seconds and multiplications of forward, activation backward and weight gradient together."""
    seconds = [median_or_none(record["items"][name]["seconds"]) for name in STANDARD_ITEMS]
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None, sum(record["operations"][name] for name in STANDARD_ITEMS)


def _layer_cell(record: Record, item: str, standard: float | None, standard_count: int) -> str:
    if item not in record["items"]:
        return ""
    seconds = median_or_none(record["items"][item]["seconds"])
    found = "–" if seconds is None or standard is None else f"{seconds / standard:.3f}"
    return f"{found} ({record['operations'][item] / standard_count:.3f})"


def _growth(results: Mapping[str, Record]) -> str:
    rows = []
    for line in GROWTH.values():
        for setting in line:
            record = results.get(f"growth-{setting.key}") or results.get(f"steps-{setting.key}")
            if record is None:
                continue
            variants, counts = record["variants"], record["operations"]
            row = [setting.shape, _number(median_or_none(variants[STANDARD.name]["seconds"]), 2)]
            for variant in GROWTH_VARIANTS[1:]:
                found = ratio(variants[variant.name]["seconds"], variants[STANDARD.name]["seconds"])
                counted = counts[variant.name]
                count_ratio = (counted["free"] + counted["products"]) / counted["standard"]
                row.append("–" if found is None else f"{found.median:.3f} ({count_ratio:.3f})")
            rows.append([*row, *_worst(variants)])
    if not rows:
        return ""
    head = (
        "full, fp32",
        "standard step, s",
        *(f"{variant.name} (count)" for variant in GROWTH_VARIANTS[1:]),
        "most page faults",
        "most preemptions",
    )
    return f"### Growth\n\n{_table(head, rows)}"


def _failures(results: Mapping[str, Record]) -> str:
    found = [
        f"- {name}, {variant}: {record['error']}"
        for name, result in results.items()
        for variant, record in (result.get("variants") or result["items"]).items()
        if record.get("error")
    ]
    return "### What could not be run\n\n" + "\n".join(found) if found else ""
