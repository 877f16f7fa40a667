"""Exponential, logarithm, sigmoid and tanh, on vectors of float32 or float64.

Polynomials after range reduction. exp and log are within 2 units in the last place where the
result is normal, what is built on them within 4; infinities are right, NaN stays NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .flow import const, ir
from .simd import Vectors
from .target import Target

__all__ = ["RowVec", "Vec", "along_row"]

# exp(r) = 1 + r + r^2 q(r) on |r| <= ln(2)/2, q a minimax polynomial, highest power first;
# `magic` = 1.5 * 2^(mantissa bits) rounds to the nearest integer when it is added.
# log(1 + f) with s = f / (2 + f): the scheme and coefficients of fdlibm (e_log.c, e_logf.c, Sun).
_CONSTANTS: dict[str, dict[str, Any]] = {
    "f32": {
        "bits": 23, "bias": 127, "magic": 12582912.0,
        "exp_low": -104.0, "exp_high": 89.0,
        "sigmoid_low": -87.0, "sigmoid_zero": 88.3, "tanh_limit": 20.0,
        "ln2_high": 0.6931471824645996, "ln2_low": -1.9046542999577678785e-9,
        "exp": [0.00139263256181334621, 0.0083632927530306023112, 0.041666553762567638397,
                0.16666576305560638271, 0.5],
        "sqrt_half_bits": 0x3F3504F3, "log_ln2_high": 6.9313812256e-01,
        "log_ln2_low": 9.0580006145e-06,
        "log": [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693],
        "subnormal_power": 24, "tiny": 2.0**-126,
    },
    "f64": {
        "bits": 52, "bias": 1023, "magic": 6755399441055744.0,
        "exp_low": -746.0, "exp_high": 710.0,
        "sigmoid_low": -708.0, "sigmoid_zero": 709.4, "tanh_limit": 40.0,
        "ln2_high": 0.6931471805599453, "ln2_low": 2.3190468138462996155e-17,
        "exp": [2.5100569275813682631e-8, 2.762032742826823816e-7, 2.7557268072890098263e-6,
                0.000024801520792572692843, 0.00019841269863303223296, 0.0013888888917538295848,
                0.0083333333333300117609, 0.041666666666623476764, 0.16666666666666667468, 0.5],
        "sqrt_half_bits": 0x3FE6A09E667F3BCD, "log_ln2_high": 6.93147180369123816490e-01,
        "log_ln2_low": 1.90821492927058770002e-10,
        "log": [1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                6.666666666666735130e-01],
        "subnormal_power": 54, "tiny": 2.0**-1022,
    },
}  # fmt: skip


class Vec(Vectors):
    """Vectors that also know the functions of a network."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, target: Target) -> None:
        super().__init__(builder, dtype, target)
        self.k = _CONSTANTS[self.suffix]

    def _polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        value = self.c(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.fma(value, x, self.c(coefficient))
        return value

    def _reduce_exp(self, x: Any) -> tuple[Any, Any]:
        """Return t, whose low bits are n = round(x / ln 2), and expm1 of x - n ln 2."""
        k, b = self.k, self.b
        magic = self.c(k["magic"])
        t = self.fma(x, self.c(1.4426950408889634), magic)
        n = b.fsub(t, magic)
        r = self._subtract_ln2(x, n)
        p = self.fma(b.fmul(r, r), self._polynomial(k["exp"], r), r)
        return t, p

    def _subtract_ln2(self, x: Any, n: Any) -> Any:
        """Return x - n ln 2; without FMA the high part has few bits: n times it is exact."""
        if self.target.fma:
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
        y = b.select(small, b.fmul(x, self.c(2.0 ** k["subnormal_power"])), x)
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

    def sigmoid(self, x: Any) -> Any:
        """Return 1 / (1 + e^-x); exactly 0 and 1 at the infinities."""
        k, b = self.k, self.b
        y = self.negative(x)
        # Where 2^n overflows, expm1(r) has to be positive, or inf - inf would come out: beyond
        # the last normal result the exponent goes on to where it is.
        y = b.select(self.greater(y, self.c(k["sigmoid_zero"])), self.c(k["exp_high"]), y)
        s, p = self._exp_parts(y, k["sigmoid_low"], k["exp_high"])
        return b.fdiv(self.c(1.0), self.fma(s, p, b.fadd(s, self.c(1.0))))

    def tanh(self, x: Any) -> Any:
        """Return tanh x through expm1, so that it is precise near 0."""
        b, limit = self.b, self.k["tanh_limit"]
        s, p = self._exp_parts(b.fadd(x, x), -limit, limit)
        em1 = self.fma(s, p, b.fsub(s, self.c(1.0)))
        return b.fdiv(em1, b.fadd(em1, self.c(2.0)))


class RowVec(Vec):
    """Vectors along a row of `n` elements: nothing beyond its end is touched.

    Addresses are where it begins. The masks of its first `ready` vectors are made at once: in a
    loop that fills the registers LLVM would make them again and again.
    """

    def __init__(self, v: Vec, n: Any, ready: int = 0) -> None:
        super().__init__(v.b, v.dtype, v.target)
        self.kept, self._n = v.kept, n
        self._ready: dict[Any, Any] = {}
        for offset in range(0, ready * self.bytes, self.bytes):
            self._ready[offset] = self._mask(offset)

    def _mask(self, offset: Any, length: int | None = None) -> Any:
        if offset in self._ready:
            return self._ready[offset]
        left = self.b.sub(self._n, self.b.udiv(const(offset), const(self.size)))
        return self.lanes_below(left, length)

    def load(self, address: Any, offset: Any = 0, length: int | None = None) -> Any:
        """Load a vector; beyond the end of the row are zeros."""
        return self.load_lanes(self._mask(offset, length), address, offset)

    def store(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Store a vector as far as the row goes."""
        self.store_lanes(value, self._mask(offset), address, offset)


def along_row(v: Vec, n: Any, vectors: int = 1) -> Iterator[tuple[Vec, Any]]:
    """Emit the body of a ``for`` over a row of n elements, some vectors at a time, and for what is
    left: it is given their offset, and what loads and stores them where they are.
    """
    step = vectors * v.length
    whole = v.b.udiv(n, const(step))
    with v.each(whole, step * v.size) as offset:
        yield v, offset
    left = v.b.sub(n, v.times(whole, step))
    with v.when(v.b.icmp_signed(">", left, const(0))):
        yield RowVec(v, left), v.times(whole, step * v.size)
