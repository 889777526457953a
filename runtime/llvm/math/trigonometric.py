from collections.abc import Callable
from graphc.runtime.llvm.builder import Reg
TABLE: dict[str, Callable[..., Reg]] = {}
