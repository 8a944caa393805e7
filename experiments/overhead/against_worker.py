"""Worker process of `experiments.overhead.against`: runs one step for each line of input, with the code of its checkout."""

import sys
import time
from collections.abc import Callable
from functools import cache

from drpt.memory import keep_freed_memory
from experiments.overhead.settings import FIRST
from experiments.overhead.steps import Subject, make_step
from experiments.overhead.variants import ALL_VARIANTS

keep_freed_memory()
subject = Subject(sys.argv[1], FIRST.finetune)  # type: ignore[arg-type]  # the caller has checked it
variants = {variant.name: variant for variant in ALL_VARIANTS}


@cache
def step_of(name: str) -> Callable[[], None]:
    """The step of a variant, with the same capture at every call."""
    return make_step(subject, FIRST, variants[name])


for line in sys.stdin:
    is_first, has_check, name = line[0] == "1", line[1] == "1", line[2:].strip()
    subject.forget_gradients()
    step = make_step(subject, FIRST, variants[name], check=has_check) if is_first else step_of(name)
    start = time.perf_counter()
    step()
    print("seconds", time.perf_counter() - start, flush=True)
