"""From a fused matrix product to tiles: the product, and the operations on each finished tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.axis_maps import AxisMap
from graphc.dims import Shape
from graphc.ir import Eqn, Graph, Lit, Var
from graphc.ops import linalg
from graphc.runtime.collapse import stack_rows
from graphc.runtime.kernel import Access, Kernel, Loop, Name, Product, Statement, Store
from graphc.runtime.layout import Layout
from graphc.runtime.nest import Nest, NestValue, strides_along
from graphc.runtime.schedule import Block, add_equations, add_operands, add_results


def schedule_matmul(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "matmul": tiles, and an epilogue on each."""
    return stack_rows(schedule_product(name, eqn, operands, results))


def schedule_product(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The same with a loop for each axis of the batch."""
    body: Graph = eqn.attrs["body"]
    nest = Nest(tuple(eqn.attrs["domain"]), ())
    add_operands(nest, body, operands)
    rank = len(nest.domain)
    position = next(i for i, inner in enumerate(body.eqns) if inner.op is linalg.matmul)
    product, axes = body.eqns[position], eqn.attrs["maps"][position]
    out = nest.fresh(product.out.type.dtype)
    everywhere = frozenset(range(rank + 1))  # rank: what the product makes stays in the tile
    nest.given[product.out] = NestValue(out, None, (), everywhere, is_total=True)
    others = [i for i in range(len(body.eqns)) if i != position]
    add_equations(nest, [body.eqns[i] for i in others], [eqn.attrs["maps"][i] for i in others])
    add_results(nest, body, eqn.attrs["maps"], results)
    batch = [axis for axis in axes[:-2] if axis is not None]
    before = Block(frozenset())
    loop = Block(frozenset(batch), before) if batch else before
    tile = Block(everywhere, loop)
    for _, _, value, access in nest.stores:
        tile.emit(value)
        tile.statements.append(Store(access, value if isinstance(value, Lit) else value.name))
    statement = _product(product, axes, out, nest.sources, rank, tuple(tile.statements))
    loop.statements.append(statement)
    if batch:
        before.statements.append(Loop(tuple(batch), False, tuple(loop.statements)))
    return Kernel(name, nest.domain, tuple(nest.buffers.buffers), tuple(before.statements))


def _product(
    eqn: Eqn,
    axes: AxisMap,
    out: Name,
    sources: Mapping[Var, tuple[int, Layout]],
    rank: int,
    epilogue: tuple[Statement, ...],
) -> Product:
    left, right = eqn.ins
    assert isinstance(left, Var) and isinstance(right, Var)
    (left_buffer, a), (right_buffer, b) = sources[left], sources[right]
    rows, inner = a.shape[-2:]
    return Product(
        out,
        Access(left_buffer, a.offset, _batch_strides(axes, a, rank)),
        Access(right_buffer, b.offset, _batch_strides(axes, b, rank)),
        rows,
        inner,
        b.shape[-1],
        (a.strides[-2], a.strides[-1]),
        (b.strides[-2], b.strides[-1]),
        axes[-2],
        axes[-1],
        epilogue,
    )


def _batch_strides(axes: AxisMap, layout: Layout, rank: int) -> Shape:
    batch = Layout(layout.shape[:-2], layout.strides[:-2])
    return strides_along(axes[:-2], batch, rank)
