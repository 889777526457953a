"""Every error that graphc raises, each a class of its own.

A message says what is wrong, where (the user's file and line), and what to do.  The classes also
derive from the built-in exception that Python or NumPy would have raised in the same place, so
that existing `except IndexError` clauses keep their meaning.
"""

from __future__ import annotations

import numpy as np


class GraphcError(Exception):
    """The base of all of graphc's errors.

    `loc` is the user's source line that the message speaks of, where there is one.
    """

    def __init__(self, message: str, loc: object = None):
        self.loc = loc
        super().__init__(f"{loc}: {message}" if loc is not None else message)


# ---- types ---------------------------------------------------------------------------------------


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit the operation."""


class DTypeError(GraphcError, TypeError):
    """A dtype that the operation, or graphc, does not take."""


class AttributeValueError(GraphcError, ValueError):
    """A parameter of an operation (an axis, a step) outside of what it may be."""


class ArityError(GraphcError, TypeError):
    """An operation or graph given the wrong number of values."""


class UndecidedSizeError(GraphcError, TypeError):
    """A question about a symbolic size whose answer depends on the number."""


# ---- run time ------------------------------------------------------------------------------------


class IndexOutOfRangeError(GraphcError, IndexError):
    """An index outside its axis, found while a compiled step ran."""


class OverlapError(GraphcError, ValueError):
    """An argument that the function assigns to in place overlaps another argument's memory."""


class CheckFailedError(GraphcError, ValueError):
    """A run-time check other than an index failed inside a compiled step."""


class LinAlgError(GraphcError, np.linalg.LinAlgError):
    """A matrix has no such decomposition: it is singular, or not positive definite."""


class MissingLibraryError(GraphcError, ImportError):
    """An operation runs in a library that is not installed."""


class DivisionByZeroError(GraphcError, ZeroDivisionError):
    """A branch that divides Python's own zero was taken."""


class RaisedError(GraphcError, RuntimeError):
    """A branch that raises a RuntimeError was taken."""


class NonFiniteError(GraphcError, FloatingPointError):
    """Under `check_nan`: a step made a NaN or an infinity."""


class FailedAssertionError(GraphcError, AssertionError):
    """An `assert` on a traced value does not hold."""


class UnboundNameError(GraphcError, UnboundLocalError):
    """A variable was read that only a loop assigns which ran no iteration."""


class ExternalError(GraphcError, RuntimeError):
    """A function from outside of graphc that failed, or that cannot be called."""


# ---- devices -------------------------------------------------------------------------------------


class NoDriverError(GraphcError, RuntimeError):
    """`target="cuda"` on a machine without NVIDIA's driver, or with one that does not start."""


class NoDeviceError(GraphcError, RuntimeError):
    """`target="cuda"` on a machine without a GPU that the driver sees."""


class DeviceMemoryError(GraphcError, MemoryError):
    """A device has no memory left for a step or its results."""


class DeviceOperationError(GraphcError, NotImplementedError):
    """An operation that a device cannot run."""


class DeviceFaultError(GraphcError, RuntimeError):
    """Code on a device did what it must not: memory outside of a buffer, threads that wait for
    others that never come."""


# ---- tracing -------------------------------------------------------------------------------------


class LeakedValueError(GraphcError, RuntimeError):
    """A traced value used outside of the function or branch that made it."""


class IntegerRangeError(GraphcError, OverflowError):
    """A Python integer that the dtype it meets cannot hold."""


class ConcreteValueError(GraphcError, TypeError):
    """A traced value used where Python or a library needs a number known while tracing."""


class UnsupportedFunctionError(GraphcError, TypeError):
    """A NumPy function, or an argument of one, that graphc cannot trace."""


class RandomStateError(GraphcError, TypeError):
    """A generator with a state of its own, as `np.random` has, drawn from while tracing."""


class UnsupportedAttributeError(GraphcError, AttributeError):
    """An ndarray attribute or method that a traced array does not have."""


class UnsupportedIndexError(GraphcError, IndexError):
    """A form of indexing that graphc cannot trace."""


class DataDependentShapeError(GraphcError, ValueError):
    """A result whose shape depends on the values of the data."""


class ReadOnlyError(GraphcError, ValueError):
    """An assignment to an array that cannot be written: a broadcast view, a constant."""


class NumberAssignedError(ReadOnlyError, TypeError):
    """An assignment to an element of a number, which has none."""


class DonatedError(GraphcError, ValueError):
    """An array that was donated to a compiled function, and is passed to one again."""


class StaleValueError(GraphcError, RuntimeError):
    """A read of an array that a traced conditional chose, after one of its choices was changed."""


class ArgumentError(GraphcError, TypeError):
    """Arguments that do not fit the function, its annotations or its options."""


class BranchMismatchError(GraphcError, TypeError):
    """The branches of a conditional give values of different structure, shape or dtype."""


class CarriedTypeError(GraphcError, TypeError):
    """A loop whose body leaves a value of another structure, shape or dtype than it was given."""


class OneSidedNameError(GraphcError, NameError):
    """A name is read that only one branch of a traced conditional defined."""


class TapeError(GraphcError, RuntimeError):
    """A record read from a tape that has none of that kind: a graph that was written by hand."""


class TapeMemoryError(GraphcError, MemoryError):
    """No memory was left for what a loop has to keep for its gradient."""


class GradientError(GraphcError, TypeError):
    """Something that has no gradient: not a scalar, not floating point."""


# ---- reading the source --------------------------------------------------------------------------


class NoSourceError(GraphcError, OSError):
    """A function whose source cannot be read, or is no longer what the function runs."""


class UnsupportedSyntaxError(GraphcError, NotImplementedError):
    """A function written in a form that graphc cannot convert."""


class UnrestorableError(UnsupportedSyntaxError):
    """A branch or loop that changes an iterator or large array while it is traced."""


class AmbiguousTruthError(GraphcError, ValueError):
    """The truth of an array with more than one element."""


# ---- text and verification -----------------------------------------------------------------------


class ParseError(GraphcError, ValueError):
    """Text that is not a graph.

    `line` and `column` (both from 1) are the place in the text, `source` is that line of it.
    """

    def __init__(
        self,
        message: str,
        loc: object = None,
        *,
        line: int = 0,
        column: int = 0,
        source: str = "",
    ):
        self.line = line
        self.column = column
        self.source = source
        super().__init__(message, loc)


class VerifyError(GraphcError, ValueError):
    """A graph that breaks a rule of the language; each rule has a class below this one.

    `equation` is the offending equation as text (or the graph's first or last line, where the
    fault lies in a parameter or a result), `context` the lines around it with that one marked.
    """

    def __init__(self, message: str, loc: object = None, equation: str = "", context: str = ""):
        self.equation = equation
        self.context = context
        super().__init__(message + context, loc)


class UnboundVariableError(VerifyError):
    """A variable read where nothing before has defined it."""


class CapturedVariableError(VerifyError):
    """A held graph that reads a variable of the graph around it: graphs are closed."""


class ReboundVariableError(VerifyError):
    """A variable defined twice."""


class AtomKindError(VerifyError):
    """An input or result that is neither a `Var` nor a `Lit`."""


class InputCountError(VerifyError):
    """An equation with more or fewer inputs than its op takes."""


class OutputTypeError(VerifyError):
    """Outputs whose number or types are not what the op infers."""


class UnknownOpError(VerifyError):
    """An op that is not in the registry."""


class AttributeNameError(VerifyError):
    """An attribute that the op needs and does not have, or has and does not know."""


class AttributeKindError(VerifyError):
    """An attribute value of a kind that graphs cannot hold (a list, a NumPy scalar)."""


class TypeRuleError(VerifyError):
    """Input types or attribute values that the op's own type rule refuses."""


class ElementwiseShapeError(VerifyError):
    """An elementwise op whose operands differ in shape."""


class CondPredicateError(VerifyError):
    """A `cond` whose predicate is not bool[]."""


class CondRegionError(VerifyError):
    """A `cond` whose branches do not fit its operands, its results or each other."""


class UpdateIndexError(VerifyError):
    """An update of a parameter, or by a result, that the graph does not have."""


class UpdateTypeError(VerifyError):
    """An update whose result is not of the parameter's type."""


class DuplicateUpdateError(VerifyError):
    """A parameter that two results update."""


class TapeBoundaryError(VerifyError):
    """A graph that takes or returns a tape: they live inside of a graph."""


class LiteralValueError(VerifyError):
    """A literal whose value its dtype cannot hold."""


class UnknownDTypeError(VerifyError):
    """A dtype that the language does not have."""


class DimensionError(VerifyError):
    """A dimension that is not a whole number from 0 upwards."""


# ---- command line --------------------------------------------------------------------------------


class CommandError(GraphcError, ValueError):
    """A command line that cannot be carried out: no such file or function, a bad `--arg`."""
