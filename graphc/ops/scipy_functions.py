"""Functions of scipy.special that run in scipy's own machine code, called for each element.

They are the ones that `special` does not make of elementary operations; `scipy_calls` says how they
are called.  Derivatives are those of the NIST Digital Library of Mathematical Functions (DLMF), or
follow from what the functions are defined by; one without a closed form is an error where it is
wanted.
"""

from __future__ import annotations

import functools
from typing import Any

from graphc import errors
from graphc.build import Value
from graphc.ops import scipy_calls
from graphc.ops.external import FUNCTIONS, External
from graphc.ops.scipy_bessel import BESSEL, Rules
from graphc.ops.scipy_calls import COMPLEX, WHOLE
from graphc.ops.scipy_distributions import DISTRIBUTIONS
from graphc.ops.scipy_integrals import INTEGRALS
from graphc.ops.scipy_series import SERIES

DERIVATIVES: dict[str, Rules] = {**BESSEL, **DISTRIBUTIONS, **INTEGRALS, **SERIES}
"""Name -> the derivative by each operand, None for one without a closed form; None without any.
`airy.2` is the third result of a function that has several."""

STEPS = dict.fromkeys(("pdtr", "pdtrc", "bdtr", "bdtrc", "bdtri"), (0,))
"""Function -> the operands of which scipy takes the whole part itself: they have derivative 0."""

ONE_RESULT = [name for name in DERIVATIVES if "." not in name]
"""Functions of real numbers that give one."""


def register(symbol: str) -> External | None:
    """The function that machine code calls by that symbol, None if it is no name of the tables."""
    found = scipy_calls.split_name(symbol)
    if found is None:
        return None
    name, form, part = found
    key = symbol.removeprefix(scipy_calls.PREFIX)
    if key not in DERIVATIVES and not (name in COMPLEX and "z" in form):
        return None
    if symbol not in FUNCTIONS:
        rules = DERIVATIVES.get(key)
        FUNCTIONS[symbol] = External(
            symbol,
            functools.partial(scipy_calls.reference, name, form, part),
            functools.partial(scipy_calls.address, name, form),
            vjp=None if rules is None else functools.partial(_vjp, name, rules),
            form=form,
            part=part,
            shown=f"scipy.special.{name}" + (" of complex numbers" if "z" in form else ""),
        )
    return FUNCTIONS[symbol]


def _vjp(name: str, rules: Any, g: Value, out: Value, *ins: Value) -> tuple[Any, ...]:
    """A cotangent for each operand; an error in place of one that is not known."""
    whole = (*WHOLE.get(name, ()), *STEPS.get(name, ()))
    return tuple(
        (None if i in whole else unknown(name, i)) if rule is None else g * rule(out, *ins)
        for i, rule in enumerate(rules)
    )


def unknown(name: str, operand: int) -> errors.GradientError:
    """The derivative by one operand has no closed form."""
    which = ("first", "second", "third", "fourth", "fifth")[operand]
    return errors.GradientError(
        f"the derivative of scipy.special.{name} by its {which} argument has no closed form and is"
        " not known: hold that argument constant (leave it out of argnums, or take"
        " gc.custom_vjp with a derivative of your own)"
    )
