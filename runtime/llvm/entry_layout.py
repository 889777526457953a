"""What the entry point's code and its plans agree on: words of a plan, and the layout of objects.

A plan is an array of 64-bit words that `entry.py` writes and the code of `entry_text.py` reads.  It
begins with the header below; then come three programs in preorder: what each argument must be, the
type of each result, and how to put the results together.

Where sizes have names, what depends on them is in rows: see `entry_rows.py`.
"""

from __future__ import annotations

from enum import IntEnum

FIELD_NAMES = (
    "step",  # the address of the step's machine code
    "arena",  # the memory for its temporaries
    "busy",  # whether a thread is using that memory
    "keeps_gil",  # whether other Python threads have to wait meanwhile
    "positional",  # how many arguments have no keyword
    "keywords",  # how many have one
    "keyword_names",  # the address of the keywords' addresses
    "leaves",  # how many arrays and numbers there are in the arguments
    "held",  # how many objects must be kept alive while the step runs
    "results",  # how many results there are
    "constants",  # how many constant arrays
    "constant_table",  # the address of their addresses
    "match",  # the address of the program for arguments,
    "types",  # of the one for results,
    "build",  # and of the one for what is returned
    "miss",  # what is returned for arguments that are not as planned
    "ndarray",  # NumPy's class
    "handler",  # the memory handler for the results (result_memory.py); 0 for none
    "usual_handler",  # the one of NumPy that it may take the place of
    "symbols",  # how many sizes have names
    "rows",  # the address of the rows for choices of sizes
    "row_mask",  # their number, a power of two, less 1
)
FIELD = {name: place for place, name in enumerate(FIELD_NAMES)}
"""Field of a plan's header -> its place."""


class Match(IntEnum):
    """What an argument must be.  After each: the class (of FIXED: the object), then

    ARRAY   dtype, rank, sizes: a number, or -1 - i for the i-th size that has a name
    NUMBER  nothing: the number lies in the object
    INT     nothing
    EQUAL   object: a string, compared by value
    KNOWN   object: an int that the step is specialised to
    SAME    number of an earlier leaf: an array that is given twice
    FIXED   nothing
    TUPLE   count, parts
    LIST    count, parts
    DICT    count, (key, part)...
    FIELDS  count, (name, part)...
    """

    ARRAY = 0
    NUMBER = 1
    INT = 2
    EQUAL = 3
    KNOWN = 4
    SAME = 5
    FIXED = 6
    TUPLE = 7
    LIST = 8
    DICT = 9
    FIELDS = 10


class Build(IntEnum):
    """What is returned.

    RESULT    number
    SCALAR    number, dtype: a result without axes, as a NumPy scalar
    ARGUMENT  number: the argument itself
    FIXED     object
    TUPLE     count, parts
    LIST      count, parts
    DICT      count, (key, part)...
    CALL      class, count, parts: the class called with them
    """

    RESULT = 0
    SCALAR = 1
    ARGUMENT = 2
    FIXED = 3
    TUPLE = 4
    LIST = 5
    DICT = 6
    CALL = 7


RESERVED = 64
"""Bytes before the arena proper; the first eight hold the value of a failed check."""

CLASS = 8
"""Offset of the class in any object."""
DATA, RANK, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64
"""Offsets of the fields of an array object (PyArrayObject)."""
NUMBER = 16
"""Where a Python float and NumPy's scalars keep their number (ob_fval, obval)."""
SIZE = 16
"""Where a tuple, a list and a dict keep how many parts they have."""
ITEMS = 24
"""Where a tuple begins, and where a list keeps the address of its beginning."""
CARRAY = 0x0501
"""Flags of an array in row-major order, aligned and writable."""
