"""Sizes as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc import errors
from graphc.dims import Size, dim
from graphc.questions import hint
from graphc.size_text import parse_size

B, N = dim("B"), dim("N")
SIZES = st.recursive(
    st.one_of(st.integers(-3, 5), st.sampled_from([B, N])),
    lambda sizes: st.one_of(
        st.builds(lambda a, b: a + b, sizes, sizes),
        st.builds(lambda a, b: a - b, sizes, sizes),
        st.builds(lambda a, b: a * b, sizes, sizes),
    ),
    max_leaves=5,
)


@given(SIZES)
def test_what_is_printed_is_read(size: Size) -> None:
    assert parse_size(str(size)) == size


def test_examples_of_names() -> None:
    assert hint(parse_size("2*B + 1", {"B": 7})) == 15


@pytest.mark.parametrize("text", ["", "B/2", "f(B)", "2.5", "B +", "True", "'B'"])
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(errors.ShapeError, match="is no size"):
        parse_size(text)
