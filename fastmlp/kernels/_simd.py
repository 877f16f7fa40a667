"""Vector arithmetic as LLVM IR: the one module that knows llvmlite.

A `Vec` is an IR builder bound to an element type and a vector length. Its methods emit
instructions; nothing here runs at training time. Addresses are 64-bit integers and offsets are
bytes, so that the drivers need no pointers, slices or reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "VOID",
    "Vec",
    "const",
    "element_type",
    "ir",
]

I64, I32, I16, I8, BOOL = (ir.IntType(n) for n in (64, 32, 16, 8, 1))
VOID = ir.VoidType()
F32, F64 = ir.FloatType(), ir.DoubleType()

# exp(r) = 1 + r + r^2 q(r) on |r| <= ln(2)/2, q a minimax polynomial, highest power first;
# `magic` = 1.5 * 2^(mantissa bits) rounds to the nearest integer when it is added.
# log(1 + f) with s = f / (2 + f): the scheme and coefficients of fdlibm (e_log.c, e_logf.c, Sun).
_CONSTANTS: dict[str, dict[str, Any]] = {
    "f32": {
        "bits": 23, "int_bits": 32, "bias": 127, "magic": 12582912.0,
        "exp_low": -104.0, "exp_high": 89.0,
        "sigmoid_low": -87.0, "sigmoid_zero": 88.3, "overflow": 89.0, "tanh_limit": 20.0,
        "ln2_high": 0.6931471824645996, "ln2_low": -1.9046542999577678785e-9,
        "exp": [0.00139263256181334621, 0.0083632927530306023112, 0.041666553762567638397,
                0.16666576305560638271, 0.5],
        "sqrt_half_bits": 0x3F3504F3, "log_ln2_high": 6.9313812256e-01,
        "log_ln2_low": 9.0580006145e-06,
        "log": [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693],
        "subnormal_scale": 2.0**24, "subnormal_power": 24, "tiny": 2.0**-126,
    },
    "f64": {
        "bits": 52, "int_bits": 64, "bias": 1023, "magic": 6755399441055744.0,
        "exp_low": -746.0, "exp_high": 710.0,
        "sigmoid_low": -708.0, "sigmoid_zero": 709.4, "overflow": 710.0, "tanh_limit": 40.0,
        "ln2_high": 0.6931471805599453, "ln2_low": 2.3190468138462996155e-17,
        "exp": [2.5100569275813682631e-8, 2.762032742826823816e-7, 2.7557268072890098263e-6,
                0.000024801520792572692843, 0.00019841269863303223296, 0.0013888888917538295848,
                0.0083333333333300117609, 0.041666666666623476764, 0.16666666666666667468, 0.5],
        "sqrt_half_bits": 0x3FE6A09E667F3BCD, "log_ln2_high": 6.93147180369123816490e-01,
        "log_ln2_low": 1.90821492927058770002e-10,
        "log": [1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                6.666666666666735130e-01],
        "subnormal_scale": 2.0**54, "subnormal_power": 54, "tiny": 2.0**-1022,
    },
}  # fmt: skip

GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
GELU_CUBIC = 0.044715
LEAKY_SLOPE = 0.01


def const(value: int) -> ir.Constant:
    """Return `value` as a 64-bit integer constant."""
    return ir.Constant(I64, value)


def element_type(dtype: str) -> ir.Type:
    """Return the LLVM type of ``"float32"`` or ``"float64"``."""
    return F32 if dtype == "float32" else F64


class Vec:
    """Emit arithmetic on vectors of `length` elements of `dtype` through `builder`."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, length: int, fma: bool) -> None:
        self.b = builder
        self.module = builder.module
        self.scalar = element_type(dtype)
        self.length = length
        self.suffix = "f32" if dtype == "float32" else "f64"
        self.size = 4 if dtype == "float32" else 8
        self.bytes = length * self.size
        self.type = ir.VectorType(self.scalar, length)
        self.k = _CONSTANTS[self.suffix]
        self.int_type = ir.VectorType(ir.IntType(self.k["int_bits"]), length)
        self._fma = fma

    # constants, memory

    def c(self, value: float) -> ir.Constant:
        """Return a vector with `value` in every lane."""
        return ir.Constant(self.type, [float(value)] * self.length)

    def ic(self, value: int) -> ir.Constant:
        """Return an integer vector with `value` in every lane."""
        return ir.Constant(self.int_type, [int(value)] * self.length)

    def at(self, address: Any, offset: Any = 0) -> Any:
        """Return `address` + `offset` bytes."""
        if isinstance(offset, int):
            return address if offset == 0 else self.b.add(address, const(offset))
        return self.b.add(address, offset)

    def pointer(self, address: Any, kind: Any = None) -> Any:
        """Turn an integer address into a pointer to `kind` (a vector unless told)."""
        return self.b.inttoptr(address, (kind or self.type).as_pointer())

    def load(self, address: Any, offset: Any = 0) -> Any:
        """Load a vector; it need not be aligned."""
        value = self.b.load(self.pointer(self.at(address, offset)))
        value.align = self.size
        return value

    def store(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Store a vector; it need not be aligned."""
        self.b.store(value, self.pointer(self.at(address, offset))).align = self.size

    def load_scalar(self, address: Any, offset: Any = 0, kind: Any = None) -> Any:
        """Load one element, or one value of `kind`."""
        return self.b.load(self.pointer(self.at(address, offset), kind or self.scalar))

    def store_scalar(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Store one value."""
        self.b.store(value, self.pointer(self.at(address, offset), value.type))

    def splat(self, scalar: Any) -> Any:
        """Return a vector with `scalar` in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.b.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return self._shuffle(first, undefined, [0] * self.length)

    def first(self, vector: Any) -> Any:
        """Return lane 0."""
        return self.b.extract_element(vector, ir.Constant(I32, 0))

    def _shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        mask = ir.Constant(ir.VectorType(I32, self.length), list(lanes))
        return self.b.shuffle_vector(a, b, mask)

    def lanes_below(self, count: Any) -> Any:
        """Return the mask of lanes whose number is less than the 64-bit integer `count`."""
        narrow = self.b.trunc(count, I32) if self.size == 4 else count
        kind = self.int_type.element
        undefined = ir.Constant(self.int_type, ir.Undefined)
        first = self.b.insert_element(undefined, narrow, ir.Constant(I32, 0))
        limit = self._shuffle(first, undefined, [0] * self.length)
        lanes = ir.Constant(self.int_type, [ir.Constant(kind, i) for i in range(self.length)])
        return self.b.icmp_signed("<", lanes, limit)

    # arithmetic

    def intrinsic(self, name: str, arguments: Sequence[Any]) -> Any:
        """Call the LLVM intrinsic ``llvm.<name>`` for this vector type."""
        full = f"llvm.{name}.v{self.length}{self.suffix}"
        kind = ir.FunctionType(self.type, [self.type] * len(arguments))
        function = self.module.globals.get(full) or ir.Function(self.module, kind, full)
        return self.b.call(function, arguments)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """Return ``x * y + z``, with one rounding where the processor can."""
        if not self._fma:
            return self.b.fadd(self.b.fmul(x, y), z)
        return self.intrinsic("fma", [x, y, z])

    def greater(self, x: Any, y: Any) -> Any:
        """Return the mask ``x > y``; NaN is not greater."""
        return self.b.fcmp_ordered(">", x, y)

    def max(self, x: Any, y: Any) -> Any:
        """Return the larger; a NaN in `x` stays."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), y, x)

    def min(self, x: Any, y: Any) -> Any:
        """Return the smaller; a NaN in `x` stays."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), y, x)

    def negative(self, x: Any) -> Any:
        """Return ``-x``."""
        return self.b.fsub(self.c(-0.0), x)

    def _polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        value = self.c(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.fma(value, x, self.c(coefficient))
        return value

    def _reduce_exp(self, x: Any) -> tuple[Any, Any]:
        """Return t, whose low bits are n = round(x / ln 2), and expm1 of x - n ln 2."""
        k, b = self.k, self.b
        magic = self.c(k["magic"])
        if self._fma:
            t = self.fma(x, self.c(1.4426950408889634), magic)
        else:
            t = b.fadd(b.fmul(x, self.c(1.4426950408889634)), magic)
        n = b.fsub(t, magic)
        r = self._subtract_ln2(x, n)
        p = self.fma(b.fmul(r, r), self._polynomial(k["exp"], r), r)
        return t, p

    def _subtract_ln2(self, x: Any, n: Any) -> Any:
        """Return x - n ln 2; without FMA the high part has few bits: n times it is exact."""
        if self._fma:
            r = self.fma(n, self.c(-self.k["ln2_high"]), x)
            return self.fma(n, self.c(-self.k["ln2_low"]), r)
        high = self.k["log_ln2_high"]
        r = self.b.fsub(x, self.b.fmul(n, self.c(high)))
        return self.b.fsub(r, self.b.fmul(n, self.c(self.k["log_ln2_low"])))

    def exp(self, x: Any) -> Any:
        """Return e^x over the whole range: overflow to inf, gradual underflow, NaN in NaN out."""
        k, b = self.k, self.b
        x = self.max(self.min(x, self.c(k["exp_high"])), self.c(k["exp_low"]))
        t, p = self._reduce_exp(x)
        magic = b.bitcast(self.c(k["magic"]), self.int_type)
        n = b.sub(b.bitcast(t, self.int_type), magic)
        # 2^n in two factors, so that results beyond the normal range come out right.
        shift = 4 * k["bias"] + 4
        half = b.sub(b.lshr(b.add(n, self.ic(2 * shift)), self.ic(1)), self.ic(shift))
        scaled = b.fadd(p, self.c(1.0))
        for part in (half, b.sub(n, half)):
            power = b.shl(b.add(part, self.ic(k["bias"])), self.ic(k["bits"]))
            scaled = b.fmul(scaled, b.bitcast(power, self.type))
        return scaled

    def _exp_parts(self, x: Any, low: float, high: float) -> tuple[Any, Any]:
        """Return 2^n and expm1(r) of x clipped to [low, high], where 2^n is normal or inf."""
        k, b = self.k, self.b
        x = self.max(self.min(x, self.c(high)), self.c(low))
        t, p = self._reduce_exp(x)
        exponent = b.shl(b.bitcast(t, self.int_type), self.ic(k["bits"]))
        return b.bitcast(b.add(exponent, self.ic(k["bias"] << k["bits"])), self.type), p

    def expm1(self, x: Any) -> Any:
        """Return e^x - 1 for x <= 0, to full relative precision near 0."""
        low = -self.k["tanh_limit"]
        s, p = self._exp_parts(x, low, 0.0)
        return self.fma(s, p, self.b.fsub(s, self.c(1.0)))

    def log(self, x: Any) -> Any:
        """Return the natural logarithm: -inf at 0, NaN below it, inf at inf."""
        k, b = self.k, self.b
        small = b.fcmp_ordered("<", x, self.c(k["tiny"]))
        y = b.select(small, b.fmul(x, self.c(k["subnormal_scale"])), x)
        bits = b.bitcast(y, self.int_type)
        # exponent so that the mantissa lies in [sqrt(1/2), sqrt(2))
        shifted = b.sub(bits, self.ic(k["sqrt_half_bits"]))
        exponent = b.ashr(shifted, self.ic(k["bits"]))
        mantissa = b.bitcast(b.sub(bits, b.shl(exponent, self.ic(k["bits"]))), self.type)
        bonus = b.select(small, self.ic(k["subnormal_power"]), self.ic(0))
        e = b.sitofp(b.sub(exponent, bonus), self.type)
        f = b.fsub(mantissa, self.c(1.0))
        s = b.fdiv(f, b.fadd(self.c(2.0), f))
        z = b.fmul(s, s)
        r = b.fmul(z, self._polynomial(k["log"], z))
        half_square = b.fmul(b.fmul(self.c(0.5), f), f)
        tail = self.fma(s, b.fadd(half_square, r), b.fmul(e, self.c(k["log_ln2_low"])))
        value = b.fsub(f, b.fsub(half_square, tail))
        value = self.fma(e, self.c(k["log_ln2_high"]), value)
        inf = float("inf")
        value = b.select(b.fcmp_ordered("==", x, self.c(0.0)), self.c(-inf), value)
        value = b.select(b.fcmp_ordered("<", x, self.c(0.0)), self.c(float("nan")), value)
        keep = b.or_(b.fcmp_ordered("==", x, self.c(inf)), b.fcmp_unordered("uno", x, x))
        return b.select(keep, x, value)

    def log1p_exp_negative(self, x: Any) -> Any:
        """Return log(1 + e^-|x|), the smooth part of softplus."""
        b = self.b
        magnitude = self.intrinsic("fabs", [x])
        u = self.exp(self.negative(magnitude))
        w = b.fadd(u, self.c(1.0))
        # log(w) plus what rounding 1 + u lost, to first order (the remainder is below 1 ulp)
        lost = b.fsub(u, b.fsub(w, self.c(1.0)))
        return b.fadd(self.log(w), b.fdiv(lost, w))

    # activations: value, or value and derivative where the value does not give it

    def identity(self, x: Any) -> Any:
        """Return x."""
        return x

    def sigmoid(self, x: Any) -> Any:
        """Return 1 / (1 + e^-x); exactly 0 and 1 at the infinities."""
        k, b = self.k, self.b
        y = self.negative(x)
        # Where 2^n overflows, expm1(r) has to be positive, or inf - inf would come out: beyond
        # the last normal result the exponent goes on to where it is.
        y = b.select(self.greater(y, self.c(k["sigmoid_zero"])), self.c(k["overflow"]), y)
        s, p = self._exp_parts(y, k["sigmoid_low"], k["overflow"])
        return b.fdiv(self.c(1.0), self.fma(s, p, b.fadd(s, self.c(1.0))))

    def tanh(self, x: Any) -> Any:
        """Return tanh x through expm1, so that it is precise near 0."""
        b, limit = self.b, self.k["tanh_limit"]
        s, p = self._exp_parts(b.fadd(x, x), -limit, limit)
        em1 = self.fma(s, p, b.fsub(s, self.c(1.0)))
        return b.fdiv(em1, b.fadd(em1, self.c(2.0)))

    def relu(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return self.max(x, self.c(0.0))

    def leaky_relu(self, x: Any) -> Any:
        """Return x, or 0.01 x below 0."""
        negative = self.b.fcmp_ordered("<", x, self.c(0.0))
        return self.b.select(negative, self.b.fmul(x, self.c(LEAKY_SLOPE)), x)

    def elu(self, x: Any) -> tuple[Any, Any]:
        """Return x or e^x - 1 below 0, and the derivative."""
        b = self.b
        below = b.fcmp_ordered("<=", x, self.c(0.0))
        return (
            b.select(below, self.expm1(x), x),
            b.select(below, self.exp(x), self.c(1.0)),
        )

    def silu(self, x: Any) -> tuple[Any, Any]:
        """Return x s and s (1 + x (1 - s)), with s = sigmoid(x)."""
        b = self.b
        s = self.sigmoid(x)
        slope = self.fma(b.fmul(x, s), b.fsub(self.c(1.0), s), s)
        return b.fmul(x, s), slope

    def gelu(self, x: Any) -> tuple[Any, Any]:
        """Return x s(u) and its derivative, u = 2 sqrt(2/pi) (x + 0.044715 x^3)."""
        b = self.b
        square = b.fmul(x, x)
        cubic = self.fma(square, self.c(GELU_CUBIC), self.c(1.0))
        u = b.fmul(b.fmul(x, self.c(2 * GELU_SCALE)), cubic)
        s = self.sigmoid(u)
        inner = self.fma(square, self.c(6 * GELU_SCALE * GELU_CUBIC), self.c(2 * GELU_SCALE))
        slope = self.fma(b.fmul(b.fmul(x, s), b.fsub(self.c(1.0), s)), inner, s)
        return b.fmul(x, s), slope

    def softplus(self, x: Any) -> tuple[Any, Any]:
        """Return log(1 + e^x) and sigmoid(x)."""
        value = self.b.fadd(self.max(x, self.c(0.0)), self.log1p_exp_negative(x))
        return value, self.sigmoid(x)

    # across lanes; a fixed tree, since a reduction without reassociation is sequential

    def reduce(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Combine all lanes in a fixed tree; every lane holds the result."""
        step = self.length // 2
        while step:
            other = self._shuffle(vector, vector, [i ^ step for i in range(self.length)])
            vector = combine(vector, other)
            step //= 2
        return vector

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """Transpose `length` vectors in log2(length) stages of shuffles."""
        result, step = list(rows), self.length // 2
        while step:
            low, high = self._exchange_lanes(step)
            for i in range(self.length):
                if not i & step:
                    a, c = result[i], result[i | step]
                    result[i], result[i | step] = (
                        self._shuffle(a, c, low),
                        self._shuffle(a, c, high),
                    )
            step //= 2
        return result

    def sum_rows(self, rows: Sequence[Any]) -> Any:
        """Return the vector whose lane i is the sum of the lanes of rows[i], in a fixed tree."""
        result, step = list(rows), self.length // 2
        while step:
            low, high = self._exchange_lanes(step)
            for i in range(step):
                a, c = result[i], result[i | step]
                result[i] = self.b.fadd(self._shuffle(a, c, low), self._shuffle(a, c, high))
            step //= 2
        return result[0]

    def _exchange_lanes(self, step: int) -> tuple[list[int], list[int]]:
        n = self.length
        low = [i if not i & step else n + (i ^ step) for i in range(n)]
        high = [i | step if not i & step else n + i for i in range(n)]
        return low, high

    # control flow

    def loop(
        self, count: Any, state: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """Emit ``for t in range(count): state = body(t, state)`` and return the last state."""
        b = self.b
        before = b.block
        head = b.function.append_basic_block("loop")
        after = b.function.append_basic_block("after")
        b.cbranch(b.icmp_signed(">", count, const(0)), head, after)
        b.position_at_end(head)
        t = b.phi(I64)
        t.add_incoming(const(0), before)
        phis = [b.phi(value.type) for value in state]
        for phi, value in zip(phis, state, strict=True):
            phi.add_incoming(value, before)
        new = body(t, list(phis))
        following = b.add(t, const(1))
        last = b.block
        t.add_incoming(following, last)
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, last)
        b.cbranch(b.icmp_signed("<", following, count), head, after)
        b.position_at_end(after)
        results = []
        for value, changed in zip(state, new, strict=True):
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            phi.add_incoming(changed, last)
            results.append(phi)
        return results

    def choose(self, condition: Any, yes: Callable[[], list[Any]], no: Callable[[], list[Any]]):
        """Emit ``yes() if condition else no()`` and return the chosen list of values."""
        b = self.b
        then, other, after = (b.function.append_basic_block(n) for n in ("then", "else", "join"))
        b.cbranch(condition, then, other)
        results = []
        for block, emit in ((then, yes), (other, no)):
            b.position_at_end(block)
            values = emit()
            results.append((values, b.block))
            b.branch(after)
        b.position_at_end(after)
        joined = []
        for left, right in zip(results[0][0], results[1][0], strict=True):
            phi = b.phi(left.type)
            phi.add_incoming(left, results[0][1])
            phi.add_incoming(right, results[1][1])
            joined.append(phi)
        return joined

    def switch(self, code: Any, cases: Mapping[int, Callable[[], None]]) -> None:
        """Emit ``cases[code]()``; a code that is not listed does nothing."""
        b = self.b
        after = b.function.append_basic_block("chosen")
        switch = b.switch(code, after)
        for value, emit in cases.items():
            block = b.function.append_basic_block(f"case{value}")
            switch.add_case(const(value), block)
            b.position_at_end(block)
            emit()
            b.branch(after)
        b.position_at_end(after)

    def prefetch(self, address: Any, offset: int = 0, locality: int = 3) -> None:
        """Ask for the cache line at `address` + `offset`."""
        pointer = self.pointer(self.at(address, offset), I8)
        kind = ir.FunctionType(VOID, [pointer.type, I32, I32, I32])
        name = "llvm.prefetch.p0"
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        arguments = [ir.Constant(I32, value) for value in (0, locality, 1)]
        self.b.call(function, [pointer, *arguments])
