"""The machine that executes PTX: threads, waiting, memory, and what it does not let by."""

from __future__ import annotations

import numpy as np
import ptx_text
import pytest
from ptx_machine import Fault, Machine, Refused
from ptx_text import PtxError

HEAD = ".version 7.8\n.target sm_80\n.address_size 64\n"
REGISTERS = """
    .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<40>; .reg .b64 %rd<40>;
    ld.param.b64 %rd1, [k_param_0];
    cvta.to.global.u64 %rd1, %rd1;
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;  // &out[thread]
"""


def kernel(body: str, before: str = "", directives: str = "") -> str:
    """The text of `k(out)`: %r1 is the number of the thread, %rd1 is out, %rd2 is &out[%r1]."""
    head = f"{HEAD}{before}.visible .entry k(.param .u64 .ptr .align 1 k_param_0)\n{directives}"
    return f"{head}{{{REGISTERS}{body}\nret;\n}}\n"


def launch(text: str, out: np.ndarray, grid: int = 1, block: int = 32, **options: object) -> None:
    start = out.ctypes.data
    given = [start.to_bytes(8, "little")]
    Machine(text).launch("k", grid, block, given, [(start, out.nbytes)], **options)  # type: ignore[arg-type]


def run(body: str, block: int = 32, before: str = "", **options: object) -> np.ndarray:
    out = np.full(block, 0xEEEEEEEE, np.uint32)
    launch(kernel(body, before), out, block=block, **options)
    return out


# ---- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, message",
    [
        ("frobnicate.b32 %r2, %r1;", r"instruction that is not known here, frobnicate.*%r2, %r1"),
        ("add.rn.cleverly.f32 %r2, %r1, %r1;", r"\.cleverly is not known here"),
        ("add.s64 %rd3, %r1, %rd2;", r"%r1 has 32 bits, not 64"),
        ("mov.b32 %r99, %r1;", r"no register %r99"),
        ("cvt.s32.f32 %r2, %r1;", r"says not how"),
        ("bra nowhere;", r"no label nowhere"),
        ("mov.u32 %r2, %clock;", r"no register %clock"),
    ],
)
def test_what_is_not_known_is_named(body: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        run(body)


def test_text_is_read() -> None:
    text = ptx_text.read(
        f"{HEAD}.global .align 8 .b16 table[3] = {{1, 0xFFFF, 3}};\n"
        ".extern .shared .align 16 .b8 more[];\n"
        ".func (.param .b32 r) f(.param .align 8 .b8 x[16]) { ret; }\n"
        ".visible .entry k(.param .u64 .ptr .global .align 16 a, .param .f32 b)\n"
        ".maxntid 8, 4, 1\n.minnctapersm 2\n{ .reg .b32 %r<3>;\n"
        "L: @!%p1 bra L; // a comment\n st.global.v2.f32 [%rd1+-8], {%r1, 0f3F800000}; }\n"
    )
    table, more = text.variables
    assert (table.initial, table.nbytes, more.nbytes) == (b"\x01\0\xff\xff\x03\0", 6, 0)
    entry = text.functions["k"]
    assert [p.nbytes for p in entry.params] == [8, 4]
    assert entry.directives == {"maxntid": 32, "minnctapersm": 2}
    assert [p.nbytes for p in text.functions["f"].params] == [16]
    branch, put = entry.code
    assert (branch.guard, branch.guard_is, entry.labels) == ("%p1", False, {"L": 0})
    assert put.parts == ("global", "v2", "f32")
    assert isinstance(put.operands[0], ptx_text.Address)
    assert put.operands[0].offset == -8
    assert text.entry("f") is None


# ---- ways ----------------------------------------------------------------------------------------


def test_threads_know_who_they_are() -> None:
    out = np.zeros(192, np.uint32)
    body = """
        mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r6, %nctaid.x;
        mad.lo.s32 %r4, %r2, %r3, %r1;
        mul.wide.u32 %rd3, %r4, 4;
        add.s64 %rd3, %rd1, %rd3;
        mad.lo.s32 %r5, %r6, 1000, %r4;
        st.global.b32 [%rd3], %r5;"""
    launch(kernel(body), out, grid=3, block=64)
    np.testing.assert_array_equal(out, 3000 + np.arange(192))


def test_threads_that_go_different_ways_meet_again() -> None:
    """Loops of different lengths, and a shuffle of all threads behind them."""
    body = """
        and.b32 %r2, %r1, 3;
        mov.b32 %r3, 0;
        mov.b32 %r4, 0;
    again:
        setp.ge.u32 %p1, %r3, %r2;
        @%p1 bra done;
        add.s32 %r4, %r4, 10;
        add.s32 %r3, %r3, 1;
        bra.uni again;
    done:
        shfl.sync.idx.b32 %r5, %r4, 3, 31, -1;
        add.s32 %r6, %r5, %r4;
        st.global.b32 [%rd2], %r6;"""
    np.testing.assert_array_equal(run(body, 64), 30 + 10 * (np.arange(64) % 4))


def test_a_jump_by_a_table() -> None:
    body = """
        and.b32 %r2, %r1, 1;
    ways: .branchtargets even, odd;
        brx.idx %r2, ways;
    odd:
        st.global.b32 [%rd2], 1;
        ret;
    even:
        st.global.b32 [%rd2], 2;"""
    assert run(body, 4).tolist() == [2, 1, 2, 1]


def test_calls_from_several_places() -> None:
    function = """.func (.param .b32 back) twice(.param .b32 x) {
        .reg .b32 %r<3>;
        ld.param.b32 %r1, [x]; add.s32 %r2, %r1, %r1; st.param.b32 [back], %r2; ret; }\n"""
    call = "{{ .param .b32 param0; st.param.b32 [param0], {0}; .param .b32 retval0;\n"
    call += "call.uni (retval0), twice, (param0); ld.param.b32 {1}, [retval0]; }}"
    body = f"""
        setp.lt.u32 %p1, %r1, 3;
        add.s32 %r2, %r1, 100;
        @%p1 bra few;
        {call.format("%r1", "%r3")}
        bra.uni done;
    few:
        {call.format("%r2", "%r3")}
    done:
        st.global.b32 [%rd2], %r3;"""
    expected = [200, 202, 204, 6, 8]
    assert run(body, 5, function).tolist() == expected


def test_calls_of_what_is_outside() -> None:
    told: list[tuple[int, int]] = []
    before = ".extern .func tell (.param .b64 a, .param .b32 b);\n"
    body = """
        setp.eq.s32 %p1, %r1, 2;
        @!%p1 ret;
        { .param .b64 param0; st.param.b64 [param0], 77; .param .b32 param1;
        st.param.b32 [param1], %r1; call.uni tell, (param0, param1); }"""
    out = np.zeros(4, np.uint32)
    text, start = kernel(body, before), out.ctypes.data
    machine = Machine(text, outside={"tell": lambda a, b: told.append((a, b))})
    machine.launch("k", 1, 4, [start.to_bytes(8, "little")], [(start, out.nbytes)])
    assert told == [(77, 2)]
    with pytest.raises(PtxError, match="a call that is not known"):
        launch(text, out)


def test_instructions_under_a_condition() -> None:
    body = """
        setp.eq.s32 %p1, %r1, 2;
        mov.b32 %r2, 5;
        @%p1 mov.b32 %r2, 7;
        st.global.b32 [%rd2], %r2;
        @!%p1 ret;
        st.global.b32 [%rd2], 9;"""
    assert run(body, 4).tolist() == [5, 5, 9, 5]


# ---- waiting -------------------------------------------------------------------------------------

REVERSED = """
    .shared .align 16 .b8 own[256];
    mov.b64 %rd3, own;
    mul.wide.u32 %rd4, %r1, 4;
    add.s64 %rd5, %rd3, %rd4;
    cvta.shared.u64 %rd8, %rd5;
    st.b32 [%rd8], %r1;
    {wait}
    xor.b32 %r2, %r1, {other};
    mul.wide.u32 %rd6, %r2, 4;
    add.s64 %rd7, %rd3, %rd6;
    ld.shared.b32 %r3, [%rd7];
    st.global.b32 [%rd2], %r3;"""


def test_shared_memory_behind_a_barrier() -> None:
    found = run(REVERSED.format(wait="bar.sync 0;", other=63), 64)
    np.testing.assert_array_equal(found, np.arange(64)[::-1])


def test_shared_memory_without_a_barrier_is_a_race() -> None:
    with pytest.raises(Fault, match=r"a read of shared memory that another .*ld\.shared") as caught:
        run(REVERSED.format(wait="", other=63), 64)
    assert caught.value.kind == "race"


def test_a_barrier_of_a_warp_is_one_for_its_threads_alone() -> None:
    near = run(REVERSED.format(wait="bar.warp.sync -1;", other=31), 64)
    np.testing.assert_array_equal(near, np.arange(64) ^ 31)
    with pytest.raises(Fault, match="a read of shared memory"):
        run(REVERSED.format(wait="bar.warp.sync -1;", other=32), 64)


def test_a_write_after_reads_is_a_race_until_all_have_waited() -> None:
    body = """
        .shared .b32 one;
        setp.eq.s32 %p1, %r1, 0;
        @%p1 st.shared.b32 [one], 5;
        bar.sync 0;
        ld.shared.b32 %r2, [one];
        {wait}
        @%p1 st.shared.b32 [one], %r1;
        st.global.b32 [%rd2], %r2;"""
    assert run(body.format(wait="bar.sync 0;"), 64).tolist() == [5] * 64
    with pytest.raises(Fault, match="a write of shared memory"):
        run(body.format(wait=""), 64)


def test_two_blocks_that_touch_one_place() -> None:
    body = "mov.u32 %r2, %ctaid.x; st.global.b32 [%rd2], {0};"
    out = np.zeros(8, np.uint32)
    launch(kernel(body.format("7")), out, grid=2, block=8)  # the same value, which nobody can tell
    with pytest.raises(Fault, match="threads write different values to one place"):
        launch(kernel(body.format("%r2")), out, grid=2, block=8)
    late = "mov.u32 %r2, %ctaid.x; shr.u32 %r2, %r2, 12; st.global.b32 [%rd1], %r2;"
    with pytest.raises(Fault, match=r"block 4096, thread 0: a write of global memory"):
        launch(kernel(late), out, grid=5000, block=1)  # not side by side
    Machine(kernel(body.format("%r2")), races=False).launch(
        "k", 2, 8, [out.ctypes.data.to_bytes(8, "little")], [(out.ctypes.data, out.nbytes)]
    )
    assert out.tolist() == [1] * 8


def test_threads_beyond_the_end_may_read_the_last_element_again() -> None:
    body = """
        min.u32 %r2, %r1, 6; mul.wide.u32 %rd3, %r2, 4; add.s64 %rd3, %rd1, %rd3;
        ld.global.b32 %r3, [%rd3{0}];
        setp.gt.u32 %p1, %r1, 6; @%p1 ret;
        add.s32 %r4, %r1, 10; st.global.b32 [%rd3], %r4;"""
    assert run(body.format(""), 64)[:7].tolist() == [10, 11, 12, 13, 14, 15, 16]
    with pytest.raises(Fault, match="a write of global memory"):
        run(body.format("+4"), 64)  # the element of another thread


def test_what_is_read_as_constant_is_not_written() -> None:
    body = "ld.global{0}.b32 %r2, [%rd2]; st.global.b32 [%rd2], %r1;"
    np.testing.assert_array_equal(run(body.format("")), np.arange(32))
    with pytest.raises(Fault, match="a write of global memory"):
        run(body.format(".nc"))
    with pytest.raises(Fault, match="a constant of global memory"):
        run("st.global.b32 [%rd2], %r1; ld.global.nc.b32 %r2, [%rd2];")


def test_threads_that_are_gone_are_not_waited_for() -> None:
    body = "setp.ge.u32 %p1, %r1, 40; @%p1 ret; bar.sync 0; st.global.b32 [%rd2], 1;"
    assert run(body, 64).tolist() == [1] * 40 + [0xEEEEEEEE] * 24


def test_threads_that_wait_for_each_other_for_ever() -> None:
    body = """
        setp.ge.u32 %p1, %r1, 16;
        @%p1 bra others;
        bar.sync 0;
        ret;
    others:
        bar.warp.sync -1;"""
    with pytest.raises(Fault, match=r"wait for others that never come.*bar\.warp"):
        run(body)


def test_threads_of_a_warp_at_two_barriers() -> None:
    body = "setp.ge.u32 %p1, %r1, 16; @%p1 bra b; bar.sync 0; ret; b: bar.sync 0;"
    with pytest.raises(Fault, match="threads of a warp wait at different barriers"):
        run(body)


def test_a_thread_that_its_mask_does_not_name() -> None:
    with pytest.raises(Fault, match="a thread that its own mask does not name"):
        run("shfl.sync.idx.b32 %r2, %r1, 0, 31, 0xFFFF;")


@pytest.mark.parametrize(
    "way, by, limit, expected",
    [
        ("bfly", 5, 31, lambda lane: lane ^ 5),
        ("down", 3, 31, lambda lane: lane + 3 if lane < 29 else lane),
        ("up", 3, 0, lambda lane: lane - 3 if lane >= 3 else lane),
        ("idx", 9, 31, lambda lane: 9),
        ("down", 1, 0x1807, lambda lane: lane + 1 if lane % 8 != 7 else lane),
        ("up", 2, 0x1800, lambda lane: lane - 2 if lane % 8 >= 2 else lane),
        ("idx", 2, 0x1807, lambda lane: lane // 8 * 8 + 2),
    ],
)
def test_shuffles(way, by, limit, expected) -> None:  # type: ignore[no-untyped-def]
    body = f"""
        mul.lo.s32 %r2, %r1, 10;
        shfl.sync.{way}.b32 %r3|%p1, %r2, {by}, {limit}, -1;
        st.global.b32 [%rd2], %r3;"""
    lanes = range(64)
    wanted = [10 * (lane // 32 * 32 + expected(lane % 32)) for lane in lanes]
    assert run(body, 64).tolist() == wanted


def test_votes_and_totals_of_a_warp() -> None:
    body = """
        setp.lt.u32 %p1, %r1, 33;
        vote.sync.ballot.b32 %r2, %p1, -1;
        redux.sync.add.s32 %r3, %r1, -1;
        add.s32 %r4, %r2, %r3;
        st.global.b32 [%rd2], %r4;"""
    first, second = 0xFFFFFFFF + sum(range(32)), 1 + sum(range(32, 64))
    wanted = [first % (1 << 32)] * 32 + [second] * 32
    assert run(body, 64).tolist() == wanted


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, kind, message",
    [
        ("ld.global.b32 %r2, [%rd2+4];", "address", "no memory that was handed out"),
        ("ld.global.b32 %r2, [%rd2+-4];", "address", "no memory that was handed out"),
        ("ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd2];", "alignment", "16 bytes"),
        ("ld.global.b32 %r2, [%rd1+2];", "alignment", "4 bytes"),
        (".shared .b32 a[8]; mov.b64 %rd3, a; ld.shared.b32 %r2, [%rd3+32];", "address", "shared"),
        (".local .b32 a[8]; mov.b64 %rd3, a; ld.local.b32 %r2, [%rd3+32];", "address", "local"),
        (".shared .b32 a; mov.b64 %rd3, a; ld.b32 %r2, [%rd3];", "address", "no memory"),
        ("cvta.shared.u64 %rd3, %rd1; cvta.to.global.u64 %rd3, %rd3; ld.global.b32 %r2, [%rd3];",
         "address", "no memory"),
    ],
)  # fmt: skip
def test_accesses_that_a_device_does_not_let_by(body: str, kind: str, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        run(body)
    assert caught.value.kind == kind


def test_vectors_and_narrow_accesses() -> None:
    out = np.zeros(16, np.uint32)
    body = """
        st.global.v4.b32 [%rd1], {1, 2, 3, 4};
        ld.global.v2.b64 {%rd3, %rd4}, [%rd1];
        st.global.v2.b64 [%rd1+16], {%rd4, %rd3};
        mov.b32 %r2, 0xFFFFFF85;
        st.global.b8 [%rd1+32], %r2;
        ld.global.s8 %r3, [%rd1+32];
        ld.global.u8 %rs1, [%rd1+32];
        st.global.b32 [%rd1+36], %r3;
        st.global.b16 [%rd1+40], %rs1;
        mov.b32 {_, %rs2}, 0x12345678;
        mov.b32 %r4, {%rs2, %rs1};
        st.global.b32 [%rd1+44], %r4;"""
    launch(kernel(body), out, block=1)
    assert out[:8].tolist() == [1, 2, 3, 4, 3, 4, 1, 2]
    assert out[8:12].tolist() == [0x85, 0xFFFFFF85, 0x85, 0x00851234]


def test_memory_of_a_thread_and_addresses_that_say_which_memory() -> None:
    body = """
        .local .align 8 .b8 depot[16];
        .shared .align 8 .b8 ours[512];
        mov.b64 %rd3, depot; cvta.local.u64 %rd3, %rd3;
        mov.b64 %rd4, ours; cvta.shared.u64 %rd4, %rd4;
        mul.wide.u32 %rd5, %r1, 8; add.s64 %rd4, %rd4, %rd5;
        and.b32 %r2, %r1, 1;
        setp.eq.b32 %p1, %r2, 0;
        selp.b64 %rd6, %rd3, %rd4, %p1;
        st.b32 [%rd3+8], 1;
        st.b32 [%rd6], %r1;
        ld.b32 %r3, [%rd6];
        st.global.b32 [%rd2], %r3;"""
    np.testing.assert_array_equal(run(body, 32), np.arange(32))


def test_tables_of_a_module() -> None:
    table = ".global .align 4 .b32 primes[4] = {2, 3, 5, 7};\n"
    body = """
        mov.b64 %rd3, primes;
        mul.wide.u32 %rd4, %r1, 4;
        add.s64 %rd5, %rd3, %rd4;
        ld.global.b32 %r2, [%rd5];
        st.global.b32 [%rd2], %r2;"""
    assert run(body, 4, table).tolist() == [2, 3, 5, 7]
    with pytest.raises(Fault, match="no memory"):
        run(body, 5, table)


def test_atomic_accesses() -> None:
    out = np.zeros(33, np.uint32)
    body = """
        atom.global.add.u32 %r2, [%rd1+128], %r1;
        st.global.b32 [%rd2], %r2;"""
    launch(kernel(body), out)
    assert out[32] == sum(range(32))
    np.testing.assert_array_equal(out[:32], np.cumsum([0, *range(31)]))
    with pytest.raises(Fault, match="a read of global memory"):
        launch(kernel("red.global.add.u32 [%rd1], 1; ld.global.b32 %r2, [%rd1];"), out)


# ---- launches ------------------------------------------------------------------------------------


def test_launches_that_a_driver_refuses() -> None:
    out = np.zeros(1024, np.uint32)
    with pytest.raises(Refused, match="a block of 64 threads"):
        launch(kernel("", directives=".maxntid 32\n"), out, block=64)
    with pytest.raises(Refused, match="a block of 1025 threads"):
        launch(kernel(""), out, block=1025)
    with pytest.raises(Refused, match="shared memory"):
        launch(kernel(".shared .b8 a[40000];"), out, shared_bytes=10000)
    launch(kernel(".shared .b8 a[40000];"), out, shared_bytes=10000, shared_limit=99000)
    with pytest.raises(Refused, match="0 blocks"):
        launch(kernel(""), out, grid=0)
    with pytest.raises(Refused, match="no entry f"):
        Machine(kernel("")).launch("f", 1, 1, [], [])
    with pytest.raises(Refused, match="parameters of"):
        Machine(kernel("")).launch("k", 1, 1, [b"1234"], [])


def test_shared_memory_that_the_launch_adds() -> None:
    before = ".extern .shared .align 16 .b8 more[];\n"
    body = """
        mov.b64 %rd3, more; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd3, %rd3, %rd4;
        st.shared.b32 [%rd3], %r1; ld.shared.b32 %r2, [%rd3]; st.global.b32 [%rd2], %r2;"""
    np.testing.assert_array_equal(run(body, 32, before, shared_bytes=128), np.arange(32))
    with pytest.raises(Fault, match="shared memory has"):
        run(body, 32, before, shared_bytes=124)


def test_many_blocks_run_in_several_turns() -> None:
    out = np.zeros(1 << 14, np.uint32)
    body = """
        mov.u32 %r2, %ctaid.x; mad.lo.s32 %r3, %r2, 256, %r1;
        mul.wide.u32 %rd3, %r3, 4; add.s64 %rd3, %rd1, %rd3; st.global.b32 [%rd3], %r3;"""
    launch(kernel(body), out, grid=64, block=256)
    np.testing.assert_array_equal(out, np.arange(1 << 14))
