"""Checks of single configuration values, used by every schema; messages name the option, the value, the rule and the choices.

Free of torch, since configurations are checked before anything heavy is imported.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches

# The largest whole number of an option: larger ones do not fit the counters of the libraries that drpt calls.
LARGEST_WHOLE = 10**18
# Square roots of float32's largest and smallest normal numbers: float32 (and bfloat16, which has the same exponents) can
# represent the square of every number between them.
LARGEST_TO_SQUARE = 1.8e19
SMALLEST_TO_SQUARE = 1.1e-19


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that suggests the closest known word; empty where none is close."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_choice(option: str, value: str, choices: Iterable[str], also: str = "") -> None:
    """Require that an option's value is one of the known names.

    Args:
        option: Full name of the option, as typed on the command line.
        value: Value of the option.
        choices: Known names.
        also: Text appended to the list of choices, about other admissible values.

    Raises:
        ValueError: ``value`` is not a known name.
    """
    names = list(choices)
    if value not in names:
        raise ValueError(f"{option}={value!r} is not known.{did_you_mean(value, names)} Choices: {', '.join(names)}{also}.")


def check_interval(
    option: str,
    value: float,
    *,
    low: float,
    high: float = math.inf,
    meaning: str,
    is_low_included: bool = True,
    is_high_included: bool = True,
) -> None:
    """Require a finite number within bounds.

    Args:
        option: Full name of the option, as typed on the command line.
        value: Value of the option.
        low: Lower bound.
        high: Upper bound.
        meaning: Description of the quantity, for the error message.
        is_low_included: Whether ``low`` itself is admitted.
        is_high_included: Whether ``high`` itself is admitted.

    Raises:
        ValueError: ``value`` lies outside the bounds, is infinite or NaN, or is a whole number beyond `LARGEST_WHOLE`.
    """
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        digits = str(abs(value)) if abs(value) < LARGEST_WHOLE**2 else f"{str(abs(value) // LARGEST_WHOLE)[:10]}…"
        raise ValueError(f"{option}={digits} is too large, more than {LARGEST_WHOLE:.0e}: {meaning}.")
    if not math.isfinite(value):
        raise ValueError(f"{option}={value} must be finite: {meaning}.")
    above = value >= low if is_low_included else value > low
    below = value <= high if is_high_included else value < high
    if above and below:
        return
    if math.isinf(high):
        rule = f"be {'at least' if is_low_included else 'more than'} {_number(low)}"
    else:
        rule = f"lie in {'[' if is_low_included else '('}{_number(low)}, {_number(high)}{']' if is_high_included else ')'}"
    raise ValueError(f"{option}={value} must {rule}: {meaning}.")


def _number(value: float) -> str:
    """A bound as text; whole numbers keep all their digits."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def check_size(option: str, value: float, *, meaning: str, is_zero_included: bool) -> None:
    """Require a positive number whose square float32 can represent.

    A larger number would turn a loss or an update into infinities, a smaller one into zeros.

    Args:
        option: Full name of the option, as typed on the command line.
        value: Value of the option.
        meaning: Description of the quantity, for the error message.
        is_zero_included: Whether 0, which usually switches something off, is admitted.

    Raises:
        ValueError: ``value`` is negative, NaN or infinite, or its square overflows or underflows in float32.
    """
    check_interval(option, value, low=0, is_low_included=is_zero_included, meaning=meaning)
    if value != 0 and not SMALLEST_TO_SQUARE <= value <= LARGEST_TO_SQUARE:
        zero = "be 0 or " if is_zero_included else ""
        raise ValueError(
            f"{option}={value} must {zero}lie in [{SMALLEST_TO_SQUARE:g}, {LARGEST_TO_SQUARE:g}]: {meaning}. Squares of larger "
            "numbers overflow in float32, and squares of smaller ones become 0."
        )
