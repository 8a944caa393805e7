"""Expressions beyond rational numbers: read by math-verify (latex2sympy) and compared exactly by sympy.

Source: math-verify (Kydlíček et al. 2025, Hugging Face). Departure: its comparison rounds to 15 digits, or to 6 decimals beside
a decimal number, so that 1/2^99 equals 1/2^98. Here two expressions are equal only if sympy proves it, and decimal numbers are
exact fractions. Upper and lower case are different variables.

The time is not bounded: callers run this in a process that they can kill.
"""

from fractions import Fraction
from functools import lru_cache
from typing import Any

FAILURES = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError)


@lru_cache(maxsize=256)
def formula_of(text: str) -> Any | None:  # Any: sympy's
    """Read an expression.

    Args:
        text: Expression in the form returned by `drpt.rewards.mathematics.signs.normal`.

    Returns:
        A sympy object without floating-point numbers and with real symbols; None if the text cannot be read.
    """
    from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
    from math_verify.parser import get_last_eq

    rules = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="last", equations=False
    )
    latex = normalize_latex(text, config=rules)
    for one in (latex, get_last_eq(latex)):  # the second attempt reads only the last side of a chain of equations
        try:
            return _exact(_converted(one))
        except Exception:  # latex2sympy raises Exception itself, and sympy fails with many types of errors
            continue
    return None


def _converted(latex: str) -> Any:
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from math_verify.grader import should_treat_as_complex

    is_real = not should_treat_as_complex(latex)
    # R and r are different variables; in lower case, the default of math-verify, R^2 - r^2 would be 0.
    config = ConversionConfig(lowercase_symbols=False)
    return latex2sympy(latex, is_real=is_real, convert_degrees=False, normalization_config=None, conversion_config=config)


def _exact(formula: Any) -> Any | None:
    """Replace floating-point numbers by fractions; None if the expression is undefined."""
    import sympy

    if isinstance(formula, str):
        return None
    if isinstance(formula, sympy.MatrixBase):
        return formula.applyfunc(_exact_entry).as_immutable()
    floats = {number: sympy.Rational(str(number)) for number in formula.atoms(sympy.Float)}
    symbols = {symbol: sympy.Symbol(symbol.name, real=True) for symbol in formula.atoms(sympy.Symbol)}
    exact = formula.xreplace(floats).xreplace(symbols)
    if isinstance(exact, sympy.Expr):
        exact = exact.doit()
    return None if exact.has(sympy.nan, sympy.zoo) else exact


def _exact_entry(entry: Any) -> Any:
    found = _exact(entry)
    if found is None:
        raise ValueError("an undefined entry")
    return found


def is_zero(formula: Any) -> bool:
    """Whether sympy proves that an expression is zero."""
    import sympy

    if formula == 0:
        return True
    if formula.is_number and formula.is_rational:
        return bool(formula.is_zero)
    if sympy.simplify(sympy.expand(formula)) == 0:
        return True
    return formula.equals(0) is True


def are_equal(first: Any, second: Any) -> bool:
    """Whether two expressions, equations, inequalities, sets, tuples or matrices are equal.

    Args:
        first: Formula returned by `formula_of`.
        second: Another formula returned by it.

    Returns:
        True if sympy proves equality, else False.
    """
    import sympy
    from sympy.core.relational import Relational

    try:
        if first == second:
            return True
        kinds = (sympy.MatrixBase, sympy.Tuple, sympy.Set, sympy.Expr)
        for kind in kinds:
            if isinstance(first, kind) and isinstance(second, kind):
                return _COMPARE[kind.__name__](first, second)
        if _is_relation(first) and _is_relation(second):
            ours, theirs = ([one] if isinstance(one, Relational) else list(one.args) for one in (first, second))
            return len(ours) == len(theirs) and all(any(_same_relation(one, other) for other in theirs) for one in ours)
        if isinstance(first, sympy.Set) and _is_relation(second):
            return _sets(first, _as_set(second))
        if isinstance(second, sympy.Set) and _is_relation(first):
            return _sets(_as_set(first), second)
    except FAILURES:
        return False
    return False


def _is_relation(formula: Any) -> bool:
    import sympy
    from sympy.core.relational import Relational

    return isinstance(formula, Relational | sympy.And)


def _as_set(relation: Any) -> Any:
    """The set of numbers that satisfy a relation; f(x) counts as one unknown."""
    import sympy
    from sympy.core.function import AppliedUndef

    unknowns = {found: sympy.Symbol(f"f_{place}", real=True) for place, found in enumerate(relation.atoms(AppliedUndef))}
    return relation.xreplace(unknowns).as_set()


def _same_relation(first: Any, second: Any) -> bool:
    """Whether two relations differ only by a constant factor and the order of their sides."""
    import sympy

    if first.rel_op in {">", ">="}:
        first = first.reversed
    if second.rel_op in {">", ">="}:
        second = second.reversed
    if first.rel_op != second.rel_op:
        return False
    ratio = sympy.simplify((first.lhs - first.rhs) / (second.lhs - second.rhs))
    is_constant = bool(ratio.is_number and ratio.is_finite and not ratio.is_zero)
    return is_constant and (first.rel_op in {"==", "!="} or bool(ratio.is_positive))


def _matrices(first: Any, second: Any) -> bool:
    return first.shape == second.shape and all(is_zero(entry) for entry in first - second)


def _tuples(first: Any, second: Any) -> bool:
    return len(first) == len(second) and all(are_equal(one, other) for one, other in zip(first, second, strict=True))


def _sets(first: Any, second: Any) -> bool:
    import sympy

    if isinstance(first, sympy.FiniteSet) and isinstance(second, sympy.FiniteSet):
        ours, theirs = list(first.args), list(second.args)
        return all(any(are_equal(one, other) for other in theirs) for one in ours) and all(
            any(are_equal(other, one) for one in ours) for other in theirs
        )
    if isinstance(first, sympy.Interval) and isinstance(second, sympy.Interval):
        is_alike = first.left_open == second.left_open and first.right_open == second.right_open
        return bool(is_alike and are_equal(first.start, second.start) and are_equal(first.end, second.end))
    return bool(first.doit().symmetric_difference(second.doit()).is_empty)


def _expressions(first: Any, second: Any) -> bool:
    if first.is_infinite or second.is_infinite:  # the difference of two infinities is undefined
        return bool(first == second)
    return is_zero(first - second)


_COMPARE = {"MatrixBase": _matrices, "Tuple": _tuples, "Set": _sets, "Expr": _expressions}


def rounded(formula: Any, decimals: int) -> Fraction | None:
    """Round the value of a constant.

    Args:
        formula: Formula returned by `formula_of`.
        decimals: Number of decimals.

    Returns:
        The rounded value; None if the formula is not a finite real constant.
    """
    import sympy

    if not isinstance(formula, sympy.Expr) or formula.free_symbols or not formula.is_extended_real or formula.is_infinite:
        return None
    size = max(0, int(sympy.ceiling(sympy.log(abs(formula) + 1, 10).evalf(5))))
    value = sympy.Rational(str(formula.evalf(size + decimals + 20)))
    return Fraction(round(Fraction(int(value.p), int(value.q)) * 10**decimals), 10**decimals)
