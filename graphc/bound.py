"""A compiled function as a Python object: methods, and where a copy or a pickle finds it again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.compiled import Compiled
    from graphc.ir import Graph
    from graphc.report import Report
    from graphc.runtime.native_function import NativeFunction


class BoundMethod:
    """A compiled function of a class, with the instance that it was taken from."""

    def __init__(self, function: Compiled, instance: Any):
        self.__func__ = function
        self.__self__ = instance
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    def graph(self, *args: Any, **options: Any) -> Graph:
        """`Compiled.graph` for this instance."""
        return self.__func__.graph(self.__self__, *args, **options)

    def explain(self, *args: Any, **kwargs: Any) -> Report:
        """`Compiled.explain` for this instance."""
        return self.__func__.explain(self.__self__, *args, **kwargs)

    def address(self, *args: Any, **kwargs: Any) -> NativeFunction:
        """`Compiled.address` for this instance."""
        return self.__func__.address(self.__self__, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BoundMethod)
            and self.__func__ is other.__func__
            and self.__self__ is other.__self__
        )

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {self.__self__!r}>"


def global_name(value: Any) -> str | None:
    """The name by which a decorated function is found in its module, as pickle looks for it."""
    name: str = getattr(value, "__qualname__", "")
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return name if found is value else None
