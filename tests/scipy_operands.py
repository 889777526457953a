"""Operands at which scipy's functions are smooth, for tests of values and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special as sc

Operands = tuple[np.ndarray, ...]

rng = np.random.default_rng(5)


def between(low: float, high: float, count: int = 6) -> np.ndarray:
    return rng.uniform(low, high, count)


WHOLE = np.array([1.0, 2, 3, 1, 2, 4])
UNIT, NEAR, MIDDLE = between(0.1, 0.9), between(0.3, 2.5), between(0.5, 3)
WIDE = between(-2, 2)
DEGREES = np.array([0.0, 1, 2, 1.3, 2.6, 3.4])
POWERS = np.append(0.0, between(-0.3, 2, 5))
NC, DF, DF2 = between(0.2, 3), between(1, 4), between(3, 6)

ROWS: dict[str, Operands] = {
    **dict.fromkeys(("pbdv", "pbvv"), (MIDDLE, WIDE)),
    "pbwa": (WIDE, WIDE[::-1]),
    **dict.fromkeys(("mathieu_cem", "mathieu_sem"), (WHOLE, MIDDLE, between(5, 80))),
    **dict.fromkeys(("mathieu_modcem1", "mathieu_modcem2"), (WHOLE, MIDDLE, between(0.2, 1.5))),
    **dict.fromkeys(("mathieu_modsem1", "mathieu_modsem2"), (WHOLE, MIDDLE, between(0.2, 1.5))),
    "ellipj": (between(0.1, 3), UNIT),
    **dict.fromkeys(("ellipkinc", "ellipeinc"), (between(0.1, 4), np.append(0.0, UNIT[1:]))),
    **dict.fromkeys(("ellipk", "ellipe", "ellipkm1"), (UNIT,)),
    "elliprc": (NEAR, NEAR[::-1] * [1, 1, 1, -1, -1, -1]),
    "besselpoly": (between(0.2, 2), between(0, 2), between(1, 2)),
    **dict.fromkeys(("gdtr", "gdtrc"), (MIDDLE, DF, MIDDLE[::-1])),
    "gdtria": (UNIT, DF, MIDDLE),
    "gdtrix": (MIDDLE, DF, UNIT),
    "nrdtrimn": (UNIT, MIDDLE, WIDE),
    "nrdtrisd": (between(-1, 0), between(0.6, 0.9), between(1, 2)),
    "tklmbda": (WIDE * 0.2, np.append(0.0, WIDE[1:])),
    "voigt_profile": (WIDE, NEAR, NEAR[::-1]),
    **dict.fromkeys(("bdtr", "bdtrc", "bdtri"), (WHOLE, WHOLE + 5, UNIT)),
    **dict.fromkeys(("nbdtr", "nbdtrc", "nbdtri"), (WHOLE, WHOLE[::-1], UNIT)),
    **dict.fromkeys(("pdtr", "pdtrc"), (WHOLE + 0.5, MIDDLE)),
    **dict.fromkeys(("pdtri", "smirnov", "smirnovi"), (WHOLE, UNIT)),
    "kolmogorov": (np.array([-1.0, 0.3, 0.6, 0.9, 1.2, 2]),),
    "kolmogi": (UNIT,),
    "chndtr": (between(0.5, 6), DF, NC),
    "chndtrix": (UNIT, DF, NC),
    "chndtrinc": (MIDDLE, DF, sc.chndtr(MIDDLE, DF, NC)),
    "ncfdtr": (DF, DF2, NC, NEAR),
    "ncfdtri": (DF, DF2, NC, UNIT),
    "ncfdtrinc": (DF, DF2, sc.ncfdtr(DF, DF2, NC, NEAR), NEAR),
    "nctdtr": (DF, WIDE, WIDE[::-1]),
    "nctdtrit": (DF, WIDE, UNIT),
    "nctdtrinc": (DF, sc.nctdtr(DF, WIDE, WIDE[::-1]), WIDE[::-1]),
    **dict.fromkeys(("stdtrit", "chdtri", "gammaincinv", "gammainccinv"), (DF, UNIT)),
    "fdtri": (DF, DF2, UNIT),
    "ndtri_exp": (-NEAR,),
    "erfcinv": (UNIT * 2,),
    "powm1": (NEAR + 1, UNIT),
    "binom": (MIDDLE + 4, UNIT * 3),
    "owens_t": (UNIT, UNIT[::-1]),
    "lpmv": (WHOLE - 1, MIDDLE + 2, WIDE * 0.4),
    **dict.fromkeys(("wright_bessel", "log_wright_bessel"), (MIDDLE, NEAR, NEAR[::-1])),
    **dict.fromkeys(("boxcox1p", "inv_boxcox", "inv_boxcox1p"), (NEAR, POWERS)),
    **dict.fromkeys(("betainc", "betaincc", "betaincinv", "betainccinv"), (DF, DF2, UNIT)),
    **dict.fromkeys(("expn", "kn", "yn"), (WHOLE, NEAR)),
    "hyp2f1": (DF, NEAR, DF2, WIDE * 0.4),
    **dict.fromkeys(("eval_hermite", "eval_hermitenorm"), (WHOLE - 1, WIDE)),
    "eval_genlaguerre": (MIDDLE, NEAR, NEAR[::-1]),
    "eval_gegenbauer": (MIDDLE, NEAR, WIDE * 0.4),
    "eval_jacobi": (MIDDLE, NEAR, NEAR[::-1], WIDE * 0.4),
    "eval_sh_jacobi": (MIDDLE, NEAR + 2, NEAR, UNIT),
    "elliprg": (NEAR, NEAR[::-1] + 1, MIDDLE),
    "radian": (UNIT * 90, UNIT * 60, MIDDLE),
    "round": (np.array([0.2, 0.7, 1.2, 2.3, 2.8, -1.3]),),
    "spence": (NEAR,),
    **dict.fromkeys(("itstruve0", "itmodstruve0", "it2struve0"), (WIDE,)),
    "bdtrik": (UNIT, WHOLE + 5, UNIT[::-1]),
    "bdtrin": (WHOLE, UNIT, UNIT[::-1]),
    "nbdtrik": (UNIT, WHOLE, UNIT[::-1]),
    "nbdtrin": (WHOLE, UNIT, UNIT[::-1]),
    "pdtrik": (UNIT, NEAR),
    "chdtriv": (UNIT, NEAR),
    "stdtridf": (np.array([0.8, 0.85, 0.9, 0.8, 0.85, 0.9]), NEAR + 1),
    "gdtrib": (NEAR, UNIT, MIDDLE),
    "btdtria": (UNIT, NEAR, UNIT[::-1]),
    "btdtrib": (NEAR, UNIT, UNIT[::-1]),
    "fdtridfd": (DF, np.full(6, 0.5), NEAR),
    "chndtridf": (MIDDLE, np.full(6, 0.3), NC),
    "ncfdtridfd": (DF, np.full(6, 0.3), NC, NEAR),
    "ncfdtridfn": (np.full(6, 0.3), DF2, NC, NEAR),
    "nctdtridf": (np.full(6, 0.7), UNIT, NEAR),
}


def operands(key: str) -> Operands:
    """Those of a function, or of one of its results (`airy.2`)."""
    name = key.split(".")[0]
    if name in ROWS:
        return ROWS[name]
    count = getattr(sc, name).nin
    if name.startswith("eval_sh"):
        return DEGREES, UNIT
    if name.startswith("eval_"):
        return DEGREES, np.append([1.0, -1.0], WIDE[2:] * 0.45)
    spread: list[Any] = [NEAR, NEAR[::-1] + 0.7, MIDDLE + 0.2, MIDDLE[::-1] + 1.1]
    return tuple(spread[:count])
