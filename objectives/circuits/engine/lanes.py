"""Eight numbers at once: the vector operations that every pass over a state is made of.

A state of N amplitudes is stored as 2N real numbers, real parts first. A Pauli rotation then mixes entry k with entry
k ⊕ X for a constant X: whole blocks of `LANES` entries change places by the high bits of X, and entries within a block
by its low bits. LLVM does not find that by itself, so it is written here in its intermediate language, which is the
same on every processor. Arrays are contiguous, float32 or float64, and offsets multiples of `LANES`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
SHIFT = 3  # log2 of LANES

_INT = ir.IntType(32)
_FAST = ("contract", "nsz", "reassoc")


@intrinsic
def popcount(typing: Any, bits: Any) -> Any:
    """How many bits of an int64 are set."""
    return types.int64(types.int64), lambda context, builder, signature, args: builder.ctpop(args[0])


@intrinsic
def highest(typing: Any, bits: Any) -> Any:
    """The highest bit that is set in an int64, which must not be 0, as a number with that bit alone."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.lshr(ir.Constant(args[0].type, -(2**63)), zeros)

    return types.int64(types.int64), emit


class _Block:
    """Emits operations on blocks of one floating-point type."""

    def __init__(self, context: Any, builder: Any, array_type: Any) -> None:
        self.context, self.builder, self.array_type = context, builder, array_type
        scalar = context.get_value_type(array_type.dtype)
        self.type = ir.VectorType(scalar, LANES)
        self.align = context.get_abi_alignment(scalar)

    def place(self, array: Any, offset: Any) -> Any:
        data = self.context.make_array(self.array_type)(self.context, self.builder, array).data
        return self.builder.bitcast(self.builder.gep(data, [offset]), self.type.as_pointer())

    def load(self, array: Any, offset: Any) -> Any:
        return self.builder.load(self.place(array, offset), align=self.align)

    def store(self, value: Any, array: Any, offset: Any) -> None:
        self.builder.store(value, self.place(array, offset), align=self.align)

    def splat(self, scalar: Any) -> Any:
        nothing = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(nothing, scalar, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))

    def flip(self, value: Any, bits: Any) -> Any:
        """Entry r of the result is entry r ⊕ bits of `value`."""
        for bit in (1, 2, 4):
            order = ir.Constant(ir.VectorType(_INT, LANES), [r ^ bit for r in range(LANES)])
            flipped = self.builder.shuffle_vector(value, value, order)
            wanted = self.builder.and_(bits, ir.Constant(bits.type, bit))
            value = self.builder.select(
                self.builder.icmp_signed("!=", wanted, ir.Constant(bits.type, 0)), flipped, value
            )
        return value

    def mul(self, left: Any, right: Any) -> Any:
        return self.builder.fmul(left, right, flags=_FAST)

    def add(self, left: Any, right: Any) -> Any:
        return self.builder.fadd(left, right, flags=_FAST)

    def mixed(self, cosine: Any, value: Any, sine: Any, other: Any) -> Any:
        """cosine · value + sine · other."""
        return self.add(self.mul(cosine, value), self.mul(sine, other))


@intrinsic
def turn(typing: Any, v: Any, a: Any, b: Any, low: Any, signs: Any, row: Any, c: Any, at_a: Any, at_b: Any) -> Any:
    """Rotates the blocks at offsets a and b of `v` into each other (a block into itself if a = b).

    v[a + r] ← c v[a + r] + at_a σ_r v[b + r⊕low], v[b + r] ← c v[b + r] + at_b σ_r v[a + r⊕low], σ = signs[row].
    """
    signature = types.void(v, types.int64, types.int64, types.int64, signs, types.int64, v.dtype, v.dtype, v.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v, a, b, low, signs, row, c, at_a, at_b = args
        block = _Block(context, builder, signature.args[0])
        table = _Block(context, builder, signature.args[4])
        one, two = block.load(v, a), block.load(v, b)
        sign = table.load(signs, builder.shl(row, ir.Constant(row.type, SHIFT)))
        cosine = block.splat(c)
        from_one, from_two = block.mul(sign, block.flip(one, low)), block.mul(sign, block.flip(two, low))
        block.store(block.mixed(cosine, one, block.splat(at_a), from_two), v, a)
        block.store(block.mixed(cosine, two, block.splat(at_b), from_one), v, b)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def turn_both(
    typing: Any, v: Any, w: Any, total: Any, a: Any, b: Any, low: Any, signs: Any, row: Any, c: Any, at_a: Any,
    at_b: Any, unit_a: Any, unit_b: Any,
) -> Any:  # fmt: skip
    """What `turn` does, on `v` and `w` alike, after adding Σ w · G v to `total`, block of partial sums.

    G is the rotation's generator: (G v)[a + r] = unit_a σ_r v[b + r⊕low], and likewise at b, unless a = b.
    """
    scalar = v.dtype
    signature = types.void(
        v, v, v, types.int64, types.int64, types.int64, signs, types.int64, scalar, scalar, scalar, scalar, scalar
    )

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v, w, total, a, b, low, signs, row, c, at_a, at_b, unit_a, unit_b = args
        block = _Block(context, builder, signature.args[0])
        table = _Block(context, builder, signature.args[6])
        sign = table.load(signs, builder.shl(row, ir.Constant(row.type, SHIFT)))
        cosine, sine_a, sine_b = block.splat(c), block.splat(at_a), block.splat(at_b)
        v_one, v_two, w_one, w_two = block.load(v, a), block.load(v, b), block.load(w, a), block.load(w, b)
        v_from_one, v_from_two = block.mul(sign, block.flip(v_one, low)), block.mul(sign, block.flip(v_two, low))
        w_from_one, w_from_two = block.mul(sign, block.flip(w_one, low)), block.mul(sign, block.flip(w_two, low))
        zero = ir.Constant(a.type, 0)
        sums = block.load(total, zero)
        sums = block.add(sums, block.mul(block.splat(unit_a), block.mul(w_one, v_from_two)))
        sums = block.add(sums, block.mul(block.splat(unit_b), block.mul(w_two, v_from_one)))
        block.store(sums, total, zero)
        block.store(block.mixed(cosine, v_one, sine_a, v_from_two), v, a)
        block.store(block.mixed(cosine, v_two, sine_b, v_from_one), v, b)
        block.store(block.mixed(cosine, w_one, sine_a, w_from_two), w, a)
        block.store(block.mixed(cosine, w_two, sine_b, w_from_one), w, b)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def add_masked(typing: Any, w: Any, to: Any, factors: Any, at: Any, v: Any, source: Any, low: Any, scale: Any) -> Any:
    """w[to + r] += scale · factors[at + r] · v[source + r⊕low]."""
    signature = types.void(w, types.int64, factors, types.int64, w, types.int64, types.int64, w.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w, to, factors, at, v, source, low, scale = args
        block = _Block(context, builder, signature.args[0])
        values = block.mul(block.load(factors, at), block.flip(block.load(v, source), low))
        block.store(block.add(block.load(w, to), block.mul(block.splat(scale), values)), w, to)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def block_sum(typing: Any, v: Any) -> Any:
    """The sum of the first block of `v`, pairs of halves added until one number is left."""
    signature = v.dtype(v)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = _Block(context, builder, signature.args[0])
        value = block.load(args[0], ir.Constant(ir.IntType(64), 0))
        for bit in (4, 2, 1):
            order = ir.Constant(ir.VectorType(_INT, LANES), [r ^ bit for r in range(LANES)])
            value = block.add(value, builder.shuffle_vector(value, value, order))
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return signature, emit
