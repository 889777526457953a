"""Calls of scipy's machine code for each element: what an equation names, and where that lies.

An equation names a function as `scipy_special_j0`.  One of several results, or a part of a complex
one, is a call of its own: `scipy_special_airy.2` is the third real number that `airy` gives.  The
addresses are those that `scipy.special.cython_special` gives out.  All of them compute in f64.
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
import sys
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ops.elementwise import trunc, where
from graphc.ops.external import scalar_call
from graphc.ops.scipy_ranges import within

PREFIX = "scipy_special_"

WHOLE = {
    **dict.fromkeys(("expn", "kn", "yn", "smirnov", "smirnovi", "pdtri"), (0,)),
    **dict.fromkeys(("nbdtr", "nbdtrc", "nbdtri"), (0, 1)),
    **dict.fromkeys(("eval_hermite", "eval_hermitenorm"), (0,)),
    **dict.fromkeys(("bdtr", "bdtrc", "bdtri"), (1,)),
}
"""Function -> the operands of which it takes the whole part.

scipy warns of fractions there, by calling Python, which no thread of a step may.
"""

OF_INTEGERS = {
    **dict.fromkeys(("eval_hermite", "eval_hermitenorm"), "ld>d"),
    **dict.fromkeys(("bdtr", "bdtrc", "bdtri"), "dld>d"),
}
"""Functions that take an integer in machine code, too; the forms are as in `External`."""

SEVERAL = {
    **dict.fromkeys(("airy", "airye", "itairy"), "d>dddd"),
    **dict.fromkeys(("fresnel", "sici", "shichi", "it2i0k0", "it2j0y0", "iti0k0"), "d>dd"),
    "itj0y0": "d>dd",
    **dict.fromkeys(("pbdv", "pbvv", "pbwa"), "dd>dd"),
    "ellipj": "dd>dddd",
    **dict.fromkeys("mathieu_cem mathieu_modcem1 mathieu_modcem2".split(), "ddd>dd"),
    **dict.fromkeys("mathieu_sem mathieu_modsem1 mathieu_modsem2".split(), "ddd>dd"),
}
"""Functions of real numbers that give several."""

COMPLEX = {
    **dict.fromkeys("dawsn erf erfc erfcx erfi exp1 expi expm1 gamma".split(), "z>z"),
    **dict.fromkeys("log1p log_ndtr loggamma".split(), "z>z"),
    **dict.fromkeys("ndtr psi rgamma spence wofz wrightomega".split(), "z>z"),
    **dict.fromkeys(("elliprc", "xlog1py", "xlogy"), "zz>z"),
    **dict.fromkeys(("elliprd", "elliprf", "elliprg"), "zzz>z"),
    "elliprj": "zzzz>z",
    **dict.fromkeys("hyp0f1 iv ive jv jve kv kve yv yve".split(), "dz>z"),
    **dict.fromkeys("hankel1 hankel1e hankel2 hankel2e".split(), "dz>z"),
    **dict.fromkeys("eval_chebyc eval_chebys eval_chebyt eval_chebyu".split(), "dz>z"),
    **dict.fromkeys("eval_laguerre eval_legendre eval_sh_chebyt".split(), "dz>z"),
    **dict.fromkeys(("eval_sh_chebyu", "eval_sh_legendre"), "dz>z"),
    **dict.fromkeys(("eval_gegenbauer", "eval_genlaguerre", "hyp1f1"), "ddz>z"),
    **dict.fromkeys(("eval_jacobi", "eval_sh_jacobi", "hyp2f1"), "dddz>z"),
    **dict.fromkeys(("fresnel", "sici", "shichi"), "z>zz"),
    **dict.fromkeys(("airy", "airye"), "z>zzzz"),
    **dict.fromkeys(("modfresnelm", "modfresnelp"), "d>zz"),
    "kelvin": "d>zzzz",
}
"""Functions of complex numbers, or that give some."""

ALWAYS_COMPLEX = frozenset(
    "hankel1 hankel1e hankel2 hankel2e wofz modfresnelm modfresnelp kelvin".split()
)
"""Those that give complex numbers for real ones, too."""


def call(name: str, *operands: Any) -> Value:
    """`scipy.special.name` of f64 operands of one shape; a number stands for an operand of it.

    `airy.2` is the third result, `complex kv.1` the imaginary part of the complex function; a
    complex operand is given by its parts.
    """
    like = next(x for x in operands if isinstance(x, Value))
    values = [x if isinstance(x, Value) else like.literal(float(x)) for x in operands]
    for place in WHOLE.get(name, ()):
        values[place] = trunc(values[place])
    symbol = PREFIX + name.replace(" ", "_")
    values, inside = within(name.partition(".")[0], values)
    result: Value = scalar_call(*values, function=symbol, result="f64")
    return result if inside is None else where(inside, result, math.nan)


def split_name(symbol: str) -> tuple[str, str, int] | None:
    """What a symbol names: the function, its form, which real number of its results.

    None if it names nothing that scipy has.
    """
    match = re.fullmatch(rf"{PREFIX}(complex_)?(\w+?)(?:\.(\d))?", symbol)
    if match is None:
        return None
    is_complex, name, part = match.groups()
    form = (COMPLEX if is_complex else SEVERAL).get(name)
    if is_complex or form:
        count = 0 if form is None else len(form.partition(">")[2].replace("z", "zz"))
        return (name, form, int(part)) if form and part and int(part) < count else None
    return None if part else (name, OF_INTEGERS.get(name, ""), 0)


# ---- values --------------------------------------------------------------------------------------


def reference(name: str, form: str, part: int, *operands: np.ndarray) -> Any:
    """The result by scipy's ufunc; complex operands come by their parts."""
    given, rest = [], list(operands)
    for letter in form.partition(">")[0] or "d" * len(rest):
        number = rest.pop(0)
        if letter == "z":
            number = _complex(number, rest.pop(0))
        given.append(number.astype(np.int64) if letter == "l" else number)
    results = getattr(scipy_special(), name)(*given)
    results = results if isinstance(results, tuple) else (results,)
    numbers = [x for result in results for x in _parts(result)] if "z" in form else results
    return numbers[part]


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """Put together without arithmetic, which would lose the sign of a zero."""
    made = np.empty(np.shape(real), complex)
    made.real, made.imag = real, imaginary
    return made


def _parts(result: Any) -> tuple[Any, Any]:
    return np.real(result), np.imag(result)


def scipy_special() -> Any:
    """The module.  Raises `errors.MissingLibraryError` where scipy is not installed."""
    try:
        from scipy import special  # type: ignore[import-untyped]
    except ImportError:
        raise errors.MissingLibraryError(
            "functions of scipy.special run in scipy; pip install graphc-compiler[linalg]"
        ) from None
    return special


# ---- machine code --------------------------------------------------------------------------------

_LETTERS = {"double": "d", "__pyx_t_double_complex": "z", "long": "l", "Py_ssize_t": "l"}


@functools.cache
def _capsules() -> dict[tuple[str, str], Any]:
    """Name and form -> the capsule of a function.

    A function for several types has several, whose names begin with what tells them apart.
    """
    from scipy.special import cython_special  # type: ignore[import-untyped]

    found = {}
    for name, capsule in cython_special.__pyx_capi__.items():
        form = _form(_signature(capsule))
        if form is not None:
            found[re.sub(r"^__pyx_fuse_\d+(_\d+)?", "", name), form] = capsule
    return found


def _form(signature: str) -> str | None:
    """`double (double, int __pyx_skip_dispatch)` as `d>d`; results come by pointers or as one.

    The last parameter of a function that gives one result is for Cython's use and is not looked at.
    """
    match = re.fullmatch(r"(\w+) \(([^()]*)\)", signature)
    if match is None:
        return None
    result, parameters = match[1], match[2].removesuffix(", int __pyx_skip_dispatch").split(", ")
    values = [x for x in parameters if not x.endswith("*")]
    pointers = [x.removesuffix(" *") for x in parameters if x.endswith("*")]
    given = pointers if result == "void" else [result]
    if (result != "void" and pointers) or not {*values, *given} <= _LETTERS.keys():
        return None
    return f"{''.join(map(_LETTERS.__getitem__, values))}>{''.join(map(_LETTERS.get, given))}"  # type: ignore[arg-type]


def _signature(capsule: Any) -> str:
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return bytes(name(capsule)).decode()


def address(name: str, form: str) -> int:
    """Where the machine code of a function lies; `form` is empty for one real result."""
    arity = scipy_special_arity(name)
    if "z" in form and sys.platform == "win32":
        raise errors.ExternalError(
            f"scipy.special.{name} of complex numbers cannot be called from a step on Windows;"
            " compute it outside of the compiled function"
        )
    capsule = _capsules().get((name, form or "d" * arity + ">d"))
    if capsule is None:
        raise errors.ExternalError(
            f"this version of scipy gives out no address of scipy.special.{name}; update scipy"
        )
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, _signature(capsule).encode()))


def scipy_special_arity(name: str) -> int:
    """How many operands a function takes."""
    ufunc = getattr(scipy_special(), name, None)
    return int(getattr(ufunc, "nin", 0))
