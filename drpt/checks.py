"""Rules for single values, whose messages name the option, the value, the rule and the choices (no torch: they run first)."""

import math
from collections.abc import Iterable
from difflib import get_close_matches

# Whole numbers beyond it fit in no counter of the libraries below.
LARGEST_WHOLE = 10**18
# Of numbers within these bounds float32 (and bfloat16, which has the same exponents) represents the squares: the roots of its
# largest number and of its smallest normal one.
LARGEST_TO_SQUARE = 1.8e19
SMALLEST_TO_SQUARE = 1.1e-19


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the closest known word, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_choice(option: str, value: str, choices: Iterable[str], also: str = "") -> None:
    """Require one of some names.

    Args:
        option: Full name of the option, as typed on the command line.
        value: What it was set to.
        choices: The names that exist.
        also: What else is admitted, appended to the choices.

    Raises:
        ValueError: ``value`` is not among them.
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
        value: What it was set to.
        low: Least value.
        high: Largest value.
        meaning: What the number is, for the reader of the message.
        is_low_included: Whether ``low`` itself is admitted.
        is_high_included: Whether ``high`` itself is admitted.

    Raises:
        ValueError: ``value`` lies outside, is infinite or no number, or is a whole number beyond `LARGEST_WHOLE`.
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
    """A bound as it was written: all digits of a whole number."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def check_size(option: str, value: float, *, meaning: str, is_zero_included: bool) -> None:
    """Require a positive number whose products with others of its kind float32 represents.

    A larger one turns a loss or an update into infinities, a smaller one into zeros, and neither shows in the configuration.

    Args:
        option: Full name of the option, as typed on the command line.
        value: What it was set to.
        meaning: What the number is, for the reader of the message.
        is_zero_included: Whether 0, which says that something is left out, is admitted.

    Raises:
        ValueError: ``value`` is negative, NaN, infinite, or of a size whose square float32 rounds to infinity or 0.
    """
    check_interval(option, value, low=0, is_low_included=is_zero_included, meaning=meaning)
    if value != 0 and not SMALLEST_TO_SQUARE <= value <= LARGEST_TO_SQUARE:
        zero = "be 0 or " if is_zero_included else ""
        raise ValueError(
            f"{option}={value} must {zero}lie in [{SMALLEST_TO_SQUARE:g}, {LARGEST_TO_SQUARE:g}]: {meaning}. Products of "
            "larger numbers are infinite in float32, and of smaller ones 0."
        )
