#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# functions_tables.py - derives every constant of functions_tables.inc (needs python3-mpmath).
#
#   python3 kernels/functions_tables.py > kernels/functions_tables.inc
#
# Polynomials are Chebyshev interpolants at 60 digits, within a factor of two of the minimax error;
# the error bound that each one prints as a comment is measured on 400 points of its interval.
#
# Those named float_ are for functions_float.inc, quick_ and octave_ for the estimates of
# functions.inc, the others for functions_exact.inc.
import struct

from mpmath import mp, mpf, cos, erf, erfc, exp, expm1, log, log1p, pi, quad, sin, sqrt, findroot

mp.dps = 60


def fit(f, lo, hi, n):
    """n coefficients, ascending, of the Chebyshev interpolant of f on [lo, hi]."""
    lo, hi = mpf(lo), mpf(hi)
    nodes = [(lo + hi) / 2 + (hi - lo) / 2 * cos(pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    matrix = mp.matrix(n, n)
    right = mp.matrix(n, 1)
    for i, x in enumerate(nodes):
        right[i] = f(x)
        for j in range(n):
            matrix[i, j] = x**j
    return [mpf(c) for c in mp.lu_solve(matrix, right)]


def horner(c, x):
    y = mpf(0)
    for a in reversed(c):
        y = y * x + a
    return y


def bound(value, approximation, lo, hi):
    """log2 of the largest error relative to the value, constants rounded to float64."""
    worst = mpf(0)
    for i in range(401):
        x = mpf(lo) + (mpf(hi) - mpf(lo)) * i / 400
        v = value(x)
        if v != 0:
            worst = max(worst, abs(approximation(x) / v - 1))
    return float(log(worst) / log(2)) if worst else -200.0


def hexed(x):
    return float(x).hex()


def rounded(x, bits):
    """x to that many significant bits."""
    m, e = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(m, bits)), int(e) - bits)


def f64(x):
    return mpf(float(x))


def scalar(name, x, text):
    print(f"#define {name} {hexed(x)} /* {text} */")


def array(name, values, text):
    print(f"/* {text} */")
    print(f"static const double {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        item = f" {hexed(v)},"
        if len(line) + len(item) > 98:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};\n")


def f32(x):
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def hexed32(x):
    """As hexed, the 29 bits left out that a float32 has not."""
    mantissa, exponent = hexed(x).split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"


def floats(name, values, text):
    print(f"/* {text} */")
    print(f"static const float {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        item = f" {hexed32(v)},"
        if len(line) + len(item) > 98:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};\n")


def float_scalar(name, x, text):
    print(f"#define {name} {hexed32(f32(x))} /* {text} */")


def table(name, rows, text):
    """rows[coefficient][interval]: one line of 16 for a lookup of each coefficient."""
    print(f"/* {text} */")
    print(f"static const double {name}[{len(rows)}][16] = {{")
    for row in rows:
        print("    {")
        for i in range(0, 16, 4):
            print("        " + ", ".join(hexed(v) for v in row[i : i + 4]) + ",")
        print("    },")
    print("};\n")


def exponential():
    step = log(2) / 16
    high = rounded(step, 38)
    scalar("EXP_STEPS", 16 / log(2), "16/ln 2")
    scalar("EXP_LN2_HI", high, "ln 2/16 to 38 bits: its product with a step count is exact")
    scalar("EXP_LN2_LO", step - high, "the rest of it")
    print()
    powers = [mpf(2) ** (mpf(j) / 16) for j in range(16)]
    array("exp_power", [f64(p) for p in powers], "2^(j/16)")
    array("exp_power_lo", [p - f64(p) for p in powers], "what rounding left out of it")
    half = step / 2 * mpf("1.0001")
    q = [f64(c) for c in fit(lambda r: (expm1(r) - r) / r**2 if r else mpf(1) / 2, -half, half, 6)]
    err = bound(lambda r: exp(r), lambda r: 1 + r + r * r * horner(q, r), -half, half)
    array("exp_poly", q, f"(e^r - 1 - r)/r^2, |r| <= ln 2/32; relative error of e^r 2^{err:.1f}")


def log_inverses():
    """1/c to 12 bits, c the middle of each of the 16 intervals of a logarithm."""
    inverse = []
    for i in range(16):
        ends = []
        for j in (i, i + 1):
            bits = 0x3FE6800000000000 + (j << 48)
            exponent = (bits >> 52) - 1023
            ends.append(mp.ldexp(1 + mpf(bits & ((1 << 52) - 1)) / 2**52, exponent))
        middle = mpf(1) if ends[0] < 1 < ends[1] else (ends[0] + ends[1]) / 2
        inverse.append(rounded(1 / middle, 12))
    return inverse


def logarithm():
    high = rounded(log(2), 38)
    scalar("LOG_LN2_HI", high, "ln 2 to 38 bits")
    scalar("LOG_LN2_LO", log(2) - high, "the rest of it")
    print("#define LOG_OFFSET 0x3fe6800000000000 /* 0.703125: where the 16 intervals begin */\n")
    inverse = log_inverses()
    logs = [-log(c) for c in inverse]
    highs = [mp.nint(v * 2**38) / 2**38 for v in logs]
    array("log_inverse", inverse, "1/c to 12 bits, c the middle of interval i: z/c - 1 is exact")
    array("log_center", highs, "ln c to 2^-38: sums with multiples of LOG_LN2_HI are exact")
    array("log_center_lo", [v - h for v, h in zip(logs, highs)], "the rest of it")
    half = mpf("0.0334")
    q = [f64(c) for c in fit(lambda r: (log1p(r) - r) / r**2 if abs(r) > mpf(10)**-25 else -mpf(1)/2,
                             -half, half, 10)]
    err = bound(log1p, lambda r: r + r * r * horner(q, r), -half, half)
    array("log_poly", q, f"(ln(1+r) - r)/r^2, |r| <= 0.0334; relative error of ln(1+r) 2^{err:.1f}")


def circle():
    high = rounded(pi / 2, 30)
    scalar("PI_2_HI", high, "pi/2 to 30 bits: its product with a quadrant is exact")
    scalar("PI_2_LO", pi / 2 - high, "the rest of it")
    scalar("TWO_OVER_PI", 2 / pi, "2/pi")
    print()
    half = pi / 4 * mpf("1.0001")

    def sine(z):
        x = sqrt(z)
        return (sin(x) - x) / x**3 if z > mpf(10)**-20 else -mpf(1) / 6

    def cosine(z):
        x = sqrt(z)
        return (cos(x) - 1 + z / 2) / z**2 if z > mpf(10)**-14 else mpf(1) / 24

    s = [f64(c) for c in fit(sine, 0, half**2, 8)]
    err = bound(sin, lambda x: x + x**3 * horner(s, x * x), 0, half)
    array("sin_poly", s, f"(sin r - r)/r^3 in r^2, |r| <= pi/4; relative error of sin 2^{err:.1f}")
    c = [f64(v) for v in fit(cosine, 0, half**2, 8)]
    err = bound(cos, lambda x: 1 - x * x / 2 + x**4 * horner(c, x * x), 0, half)
    array("cos_poly", c, f"(cos r - 1 + r^2/2)/r^4 in r^2; relative error of cos 2^{err:.1f}")


def intervals():
    """[lo, hi] of a for the 16 quarter octaves of a + 1 from 1 on."""
    out = []
    for i in range(16):
        octave, quarter = divmod(i, 4)
        out.append(tuple((1 + mpf(q) / 4) * 2**octave - 1 for q in (quarter, quarter + 1)))
    return out


def piecewise(name, f, centers, count, text):
    rows, worst = [], -200.0
    for (lo, hi), c in zip(intervals(), centers):
        zero = abs(f(c)) < mpf(10)**-50
        if zero:
            derivative = mp.diff(f, c)
            q = fit(lambda t: f(c + t) / t if abs(t) > mpf(10)**-25 else derivative,
                    lo - c, hi - c, count - 1)
            q = [mpf(0)] + q
        else:
            q = fit(lambda t: f(c + t), lo - c, hi - c, count)
        q = [f64(v) for v in q]
        rows.append(q)
        if zero:
            continue
        worst = max(worst, bound(lambda t: f(c + t), lambda t: q[0] + t * horner(q[1:], t),
                                 lo - c, hi - c))
    by_coefficient = [[rows[i][j] for i in range(16)] for j in range(count)]
    table(name, by_coefficient, f"{text}; relative error 2^{worst:.1f}")


def gaussian():
    middles = [f64((lo + hi) / 2) for lo, hi in intervals()]
    array("normal_center", middles, "the middle of interval i of a: quarter octaves of a + 1")
    piecewise("normal_tail", normal_tail, middles, 16, "e^(a^2/2) Phi(-a), by coefficient of a - center")
    root = findroot(tail_slope, mpf("0.7517916"))
    centers = [root if lo < root < hi + mpf("0.01") else m for (lo, hi), m in zip(intervals(), middles)]
    array("slope_center", [f64(c) for c in centers],
          "as normal_center, but where the derivative of GELU vanishes in the intervals next to that root")
    array("slope_center_lo", [c - f64(c) for c in centers], "what rounding left out of it")
    piecewise("slope_tail", tail_slope, centers, 17,
              "e^(a^2/2) Phi(-a) - a/sqrt(2 pi), by coefficient of a - center")


def error_function():
    value = 2 / sqrt(pi)
    high = rounded(value, 28)
    scalar("ERF_SLOPE_HI", high, "2/sqrt(pi) to 28 bits: its product with a float32 is exact")
    scalar("ERF_SLOPE_LO", value - high, "the rest of it")
    scalar("SQRT_2", sqrt(mpf(2)), "sqrt(2)")
    print()

    def curve(z):
        x = sqrt(z)
        return (erf(x) - value * x) / x**3 if z > mpf(10)**-14 else -value / 3 + value * z / 10

    q = [f64(c) for c in fit(curve, 0, mpf("0.25"), 9)]
    err = bound(erf, lambda x: value * x + x**3 * horner(q, x * x), 0, mpf("0.5"))
    array("erf_poly", q, f"(erf x - 2x/sqrt(pi))/x^3 in x^2, |x| <= 1/2; relative error of erf 2^{err:.1f}")


def gelu_tanh():
    for name, value, text in (("GELU_C1", 2 * sqrt(2 / pi), "2 sqrt(2/pi)"),
                              ("GELU_C3", 2 * sqrt(2 / pi) * mpf("0.044715"), "0.044715 times that")):
        high = rounded(value, 28)
        scalar(name + "_HI", high, text + ", to 28 bits: its product with a float32 is exact")
        scalar(name + "_LO", value - high, "the rest of it")
    print()


def tanh_gate(x):
    """Of the tanh form of GELU."""
    z = 2 * sqrt(2 / pi) * (x + mpf("0.044715") * x**3)
    return 1 / (1 + exp(-z))


def near_zero():
    """x·s(x) = x/2 + x^2·P(x^2) for a gate s with s(x) - 1/2 odd, and its derivative."""
    gates = (("silu", lambda x: 1 / (1 + exp(-x))),
             ("gelu", lambda x: erfc(-x / sqrt(mpf(2))) / 2),
             ("gelu_tanh", tanh_gate))
    for name, gate in gates:
        odd = [c for i, c in enumerate(mp.taylor(gate, 0, 8)) if i % 2]
        array(name + "_near", odd, f"(f(x) - x/2)/x^2 in x^2, f = {name}: the series at 0")
        array(name + "_slope_near", [c * (2 * i + 2) for i, c in enumerate(odd)],
              "(f'(x) - 1/2)/x, likewise")


def normal_tail(a):
    """e^(a^2/2) Phi(-a), Phi the distribution of the normal."""
    return exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2


def tail_slope(a):
    """e^(a^2/2) (Phi(-a) - a phi(a)), phi the density of the normal: GELU's derivative at -a."""
    return normal_tail(a) - a / sqrt(2 * pi)


def rational(f, lo, hi, top, bottom):
    """P, Q with these numbers of coefficients, Q(0) = 1, and P/Q = f in nodes that are moved until the
    largest relative errors between any two of them are about the same, as in the best P/Q."""
    n = top + bottom - 1

    def solve(nodes):
        matrix, right = mp.matrix(n, n), mp.matrix(n, 1)
        for i, x in enumerate(nodes):
            value = f(x)
            for j in range(top):
                matrix[i, j] = x**j / value
            for j in range(1, bottom):
                matrix[i, top + j - 1] = -(x**j)
            right[i] = 1
        c = mp.lu_solve(matrix, right)
        return [c[j] for j in range(top)], [mpf(1)] + [c[top + j] for j in range(bottom - 1)]

    nodes = [lo + (hi - lo) * sin(pi * (2 * i + 1) / (4 * n)) ** 4 for i in range(n)]
    best = None
    for _ in range(80):
        p, q = solve(nodes)
        edges = [lo] + nodes + [hi]
        gaps = list(zip(edges, edges[1:]))
        worst = [max(abs(horner(p, x) / horner(q, x) / f(x) - 1)
                     for x in (a + (b - a) * k / 8 for k in range(9))) for a, b in gaps]
        if best is None or max(worst) < best[0]:
            best = (max(worst), p, q)
        mean = sum(worst) / len(worst)
        widths = [(b - a) * (max(e, mean / 1000) / mean) ** mpf("-0.2")
                  for (a, b), e in zip(gaps, worst)]
        nodes, x = [], lo
        for width in widths[:-1]:
            x += width / sum(widths) * (hi - lo)
            nodes.append(x)
    return best[1:]


def quotient(name, f, end, top, bottom, text):
    """Writes the rational approximation of f on [0, end] as name_top and name_bottom."""
    parts = rational(f, mpf(0), mpf(end), top, bottom)
    p, q = [[f64(c) for c in part] for part in parts]
    err = bound(f, lambda x: horner(p, x) / horner(q, x), 0, mpf(end))
    array(name + "_top", p, f"{text}: the numerator; relative error 2^{err:.1f}")
    array(name + "_bottom", q, "the denominator")


def estimates():
    scalar("EXP_LN2", log(2) / 16, "ln 2/16")
    scalar("LOG_LN2", log(2), "ln 2")
    scalar("ONE_OVER_PI", 1 / pi, "1/pi")
    scalar("PI_HI", rounded(pi, 50), "pi to 50 bits: its products with 0, 1/2, ... 3 are exact")
    scalar("PI_LO", pi - rounded(pi, 50), "the rest of it")
    scalar("GELU_C1", 2 * sqrt(2 / pi), "2 sqrt(2/pi)")
    scalar("GELU_C3", 2 * sqrt(2 / pi) * mpf("0.044715"), "0.044715 times that")
    silu_root = findroot(lambda x: 1 + exp(-x) * (1 + x), mpf("-1.278"))
    tanh_root = findroot(lambda x: mp.diff(lambda t: t * tanh_gate(t), x), mpf("-0.752"))
    gelu_root = findroot(tail_slope, mpf("0.7517916"))
    scalar("SILU_SLOPE_ROOT", silu_root, "where the derivative of SiLU is 0")
    scalar("GELU_TANH_SLOPE_ROOT", tanh_root, "where that of the tanh form of GELU is 0")
    scalar("GELU_SLOPE_ROOT", gelu_root, "less it, where that of GELU is 0")
    scalar("GELU_SLOPE_ROOT_LO", gelu_root - f64(gelu_root), "the rest of it")
    print()
    less = []
    for j in range(16):
        bits = struct.unpack("<q", struct.pack("<d", float(mpf(2) ** (mpf(j) / 16))))[0] - (j << 48)
        less.append(mpf(struct.unpack("<d", struct.pack("<q", bits))[0]))
    array("exp_power_less", less, "2^(j/16), j·2^48 subtracted from its bits")

    for part, name, count in ((32, "quick_exp_poly", 6), (2, "octave_exp_poly", 9),
                              (2, "octave_close_exp_poly", 11)):
        half = log(2) / part * mpf("1.0001")
        q = [f64(c) for c in fit(exp, -half, half, count)]
        err = bound(exp, lambda r: horner(q, r), -half, half)
        array(name, q, f"e^r, |r| <= ln 2/{part}; relative error 2^{err:.1f}")
    for part, name, count in ((32, "quick_expm1_poly", 5), (2, "octave_expm1_poly", 9)):
        half = log(2) / part * mpf("1.0001")
        q = [f64(c) for c in fit(lambda r: expm1(r) / r if r else mpf(1), -half, half, count)]
        err = bound(expm1, lambda r: r * horner(q, r), -half, half)
        array(name, q, f"(e^r - 1)/r, |r| <= ln 2/{part}; relative error 2^{err:.1f}")

    half = mpf("0.0334")
    q = [f64(c) for c in fit(lambda r: (log1p(r) - r) / r**2 if abs(r) > mpf(10)**-25 else -mpf(1)/2,
                             -half, half, 6)]
    err = bound(log1p, lambda r: r + r * r * horner(q, r), -half, half)
    array("quick_log_poly", q, f"(ln(1+r) - r)/r^2, |r| <= 0.0334; relative error of ln(1+r) 2^{err:.1f}")

    ends = (mpf("0.703125") - 1, mpf("0.703125") * 2 - 1)
    q = [f64(c) for c in fit(lambda r: log1p(r) / r if r else mpf(1), *ends, 15)]
    err = bound(log1p, lambda r: r * horner(q, r), *ends)
    array("octave_log_poly", q, f"ln(1+r)/r, -0.296875 <= r <= 0.40625; relative error 2^{err:.1f}")

    array("quick_log_center", [-log(c) for c in log_inverses()], "ln c of log_inverse")

    def sine(z):
        x = sqrt(z)
        return (sin(x) - x) / x**3 if z > mpf(10)**-20 else -mpf(1) / 6

    half = pi / 2 * mpf("1.0001")
    q = [f64(c) for c in fit(sine, 0, half**2, 6)]
    err = bound(sin, lambda x: x + x**3 * horner(q, x * x), 0, half)
    array("quick_sin_poly", q, f"(sin r - r)/r^3 in r^2, |r| <= pi/2; relative error of sin 2^{err:.1f}")

    quotient("quick_tail", normal_tail, "14.75", 8, 9, "e^(a^2/2) Phi(-a), 0 <= a <= 14.75")
    quotient("quick_slope", lambda a: tail_slope(a) / (a - gelu_root), "14.75", 8, 8,
             "e^(a^2/2) (Phi(-a) - a phi(a))/(a - root), 0 <= a <= 14.75")
    quotient("quick_erf", lambda z: erf(sqrt(z)) / sqrt(z) if z else 2 / sqrt(pi), 16, 9, 9,
             "erf(x)/x in x^2, 0 <= x <= 4")
    quotient("quick_log1p", lambda e: log1p(e) / e if e else mpf(1), 1, 5, 6,
             "ln(1 + e)/e, 0 <= e <= 1")


def float_exponential(entries, terms):
    """e^r = 1 + r + r^2·(c[0] + c[1] r + ...), |r| <= ln 2/(2·entries), in float32."""
    step = log(2) / entries
    name = f"float_exp{entries}_"
    high = f32(step)
    print(f"/* e^x in steps of ln 2/{entries} */")
    float_scalar(name.upper() + "STEPS", 1 / step, f"{entries}/ln 2")
    float_scalar(name.upper() + "LN2_HI", high, f"ln 2/{entries}")
    float_scalar(name.upper() + "LN2_LO", step - high, "the rest of it")
    powers = [mpf(2) ** (mpf(j) / entries) for j in range(entries)]
    shift = 24 - entries.bit_length()
    less = []
    for j, power in enumerate(powers):
        bits = struct.unpack("<i", struct.pack("<f", float(f32(power))))[0] - (j << shift)
        less.append(mpf(struct.unpack("<f", struct.pack("<i", bits))[0]))
    floats(name + "power_less", less, f"2^(j/{entries}), j·2^{shift} subtracted from its bits")
    floats(name + "rest", [f32(log(p / f32(p))) for p in powers],
           "what the logarithm of that lacks for its rounding")
    half = step / 2 * mpf("1.0001")
    q = [f32(c) for c in fit(lambda r: (expm1(r) - r) / r**2 if abs(r) > mpf(10)**-20 else mpf(1) / 2,
                             -half, half, terms)]
    err = bound(exp, lambda r: 1 + r + r * r * horner(q, r), -half, half)
    floats(name + "poly", q, f"(e^r - 1 - r)/r^2, |r| <= ln 2/{2 * entries}; relative error of e^r 2^{err:.1f}")


print("/* SPDX-License-Identifier: Apache-2.0")
print(" *")
print(" * functions_tables.inc - constants of functions*.inc, written by functions_tables.py.")
print(" */")
print("/* clang-format off */")
exponential()
logarithm()
circle()
gaussian()
error_function()
gelu_tanh()
near_zero()
estimates()
float_exponential(32, 3)
float_exponential(8, 4)
