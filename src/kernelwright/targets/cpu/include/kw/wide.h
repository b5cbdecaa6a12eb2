// Elementary functions on sixteen float64 lanes, as elementary.h has them for float32: vector arithmetic without branches,
// but for arguments of sin and cos that take more than three doubles of pi to reduce.
//
// Exponentials are Taylor polynomials on |r| <= ln(2)/2, as long as a term matters; logarithms, sines and cosines use the
// minimax coefficients of FreeBSD's msun. tests/targets/test_wide.py asserts the errors in units in the last place.
#pragma once
#include <kw/elementary.h>

namespace kw {
namespace wide {

KW_INLINE vd8 same(double x) { return vd8{x, x, x, x, x, x, x, x}; }
KW_INLINE vd8 poly(vd8, double c) { return same(c); }
template <class... C>
KW_INLINE vd8 poly(vd8 x, double c, double next, C... rest) {
  return poly(x, next, rest...) * x + c;
}
KW_INLINE vd8 magnitude(vd8 x) { return (vd8)((vl8)x & INT64_MAX); }
KW_INLINE vd8 with_sign(vd8 x, vd8 s) { return (vd8)(((vl8)x & INT64_MAX) | ((vl8)s & INT64_MIN)); }
// Bounded, NaN kept.
KW_INLINE vd8 at_most(vd8 x, double bound) { return same(bound) < x ? same(bound) : x; }
KW_INLINE vd8 at_least(vd8 x, double bound) { return same(bound) > x ? same(bound) : x; }

// One rounding, where the algorithm depends on it.
KW_INLINE vd8 fma(vd8 a, vd8 b, vd8 c) {
#if defined(__clang__)
  return __builtin_elementwise_fma(a, b, c);
#elif defined(__AVX512F__)
  return __builtin_ia32_vfmaddpd512_mask(a, b, c, (char)-1, 4);
#else
  for (int k = 0; k < 8; ++k) c[k] = __builtin_fma(a[k], b[k], c[k]);
  return c;
#endif
}

constexpr double ROUND = 0x1.8p52;  // adding and taking it away rounds; the sum's low bits are the integer
constexpr double LN2_HI = 6.93147180369123816490e-01, LN2_LO = 1.90821492927058770002e-10;

// p 2^n for integral n given as n + ROUND, |n| <= 2100; one rounding where the result is denormal.
KW_INLINE vd8 scale(vd8 p, vd8 shifted) {
  vl8 n = (vl8)shifted - (vl8)same(ROUND), half = n >> 1;
  return p * (vd8)((half + 1023) << 52) * (vd8)((n - half + 1023) << 52);
}
// 2^n (1 + p) is e^x.
struct Power {
  vd8 p, shifted;
};
KW_INLINE vd8 exp_tail(vd8 r) {  // e^r - 1
  vd8 q = poly(r, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
               1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800);
  return r * r * q + r;
}
KW_INLINE Power power(vd8 x) {
  vd8 shifted = x * 1.4426950408889634074 + ROUND, n = shifted - ROUND;
  return {exp_tail(fma(n, same(-LN2_LO), fma(n, same(-LN2_HI), x))), shifted};
}
KW_INLINE vd8 exp(vd8 x) {
  Power e = power(at_most(at_least(x, -760.0), 720.0));
  return scale(e.p + 1.0, e.shifted);
}
KW_INLINE vd8 exp2(vd8 x) {
  x = at_most(at_least(x, -1100.0), 1030.0);
  vd8 shifted = x + ROUND, r = x - (shifted - ROUND);
  vd8 hi = r * 0.693147180559945286, lo = fma(r, same(0.693147180559945286), -hi);
  lo = r * 2.319046813846299558e-17 + lo;
  return scale(exp_tail(hi) + (lo + 1.0), shifted);
}
KW_INLINE vd8 expm1(vd8 x) {
  Power e = power(at_most(at_least(x, -40.0), 710.0));
  vd8 s = scale(same(0.5), e.shifted);  // half of 2^n: 2^1024 is no double, yet e^709.7 is
  return with_sign(fma(s, e.p, s - 0.5) * 2.0, x);
}
KW_INLINE vd8 tanh(vd8 x) {
  vd8 a = at_most(magnitude(x), 20.0);
  Power e = power(a + a);
  vd8 s = scale(same(1.0), e.shifted), t = fma(s, e.p, s - 1.0);
  return with_sign(t / (t + 2.0), x);
}
KW_INLINE vd8 sigmoid(vd8 x) {
  vd8 small = exp(-magnitude(x));
  return (x < 0.0 ? small : same(1.0)) / (small + 1.0);
}

// x = (1 + f) 2^e with 1 + f in [sqrt(1/2), sqrt(2)); what becomes of 0, inf, NaN and negative numbers is `odd`'s.
struct Split {
  vd8 f, e;
};
KW_INLINE Split split(vd8 x) {
  vl8 tiny = x < 0x1p-1022;
  vl8 u = (vl8)(tiny ? x * 0x1p54 : x), n = (u - 0x3fe6a09e667f3bcd) >> 52;
  vd8 m = (vd8)(u - (n << 52));
  n -= tiny & 54;
  return {m - 1.0, (vd8)(n + (vl8)same(ROUND)) - ROUND};
}
KW_INLINE vd8 odd(vd8 x, vd8 y) {
  y = x < __builtin_inf() ? y : x;  // inf and NaN
  y = x == 0.0 ? same(-__builtin_inf()) : y;
  return x < 0.0 ? same(__builtin_nan("")) : y;
}
// ln(1 + f) as f - (f^2/2 - rest)
KW_INLINE vd8 log_rest(vd8 f, vd8& half) {
  vd8 s = f / (f + 2.0), z = s * s;
  vd8 r = z * poly(z, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                   2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                   1.479819860511658591e-01);
  half = f * f * 0.5;
  return s * (half + r);
}
KW_INLINE vd8 log(vd8 x) {
  Split s = split(x);
  vd8 half, rest = log_rest(s.f, half);
  return odd(x, s.e * LN2_HI - ((half - (rest + s.e * LN2_LO)) - s.f));
}
KW_INLINE vd8 log2(vd8 x) {  // in two parts, so that the last rounding is the only one that counts
  Split s = split(x);
  vd8 half, rest = log_rest(s.f, half), hi = (vd8)((vl8)(s.f - half) & ~int64_t(0xffffffff)), lo = (s.f - hi) - half + rest;
  constexpr double HI = 1.44269504072144627571e+00, LO = 1.67517131648865118353e-10;
  vd8 a = hi * HI, b = (lo + hi) * LO + lo * HI, w = s.e + a;
  return odd(x, w + (b + ((s.e - w) + a)));
}
KW_INLINE vd8 log10(vd8 x) {
  Split s = split(x);
  vd8 half, rest = log_rest(s.f, half), hi = (vd8)((vl8)(s.f - half) & ~int64_t(0xffffffff)), lo = (s.f - hi) - half + rest;
  constexpr double HI = 4.34294481878168880939e-01, LO = 2.50829467116452752298e-11;
  constexpr double TWO_HI = 3.01029995663611771306e-01, TWO_LO = 3.69423907715893078616e-13;
  vd8 a = hi * HI, y = s.e * TWO_HI, b = s.e * TWO_LO + (lo + hi) * LO + lo * HI, w = y + a;
  return odd(x, w + (b + ((y - w) + a)));
}
KW_INLINE vd8 log1p(vd8 x) {
  vd8 u = x + 1.0, back = u - 1.0, lost = (1.0 - (u - back)) + (x - back);  // 1 + x = u + lost
  Split s = split(u);
  vd8 f = s.f + scale(lost, ROUND - s.e), half, rest = log_rest(f, half);
  vd8 y = odd(u, s.e * LN2_HI - ((half - (rest + s.e * LN2_LO)) - f));
  return with_sign(y, (vd8)((vl8)x & ((vl8)(x == 0.0) | (vl8)y)));  // -0 stays
}

// x - n pi/2, for |x| <= 1e5.
KW_INLINE vd8 quadrant(vd8 x, vl8& n) {
  vd8 shifted = x * 0.63661977236758134308 + ROUND, k = shifted - ROUND;
  n = (vl8)shifted;
  x = fma(k, same(-1.57079632679489655800e+00), x);
  x = fma(k, same(-6.12323399573676603587e-17), x);
  return fma(k, same(1.49738490485916983e-33), x);
}
KW_INLINE vd8 sin_part(vd8 r, vd8 z) {
  return r * z * poly(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
                      2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10) + r;
}
KW_INLINE vd8 cos_part(vd8 z) {
  vd8 q = z * z * poly(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
                       -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11);
  vd8 half = z * 0.5, w = 1.0 - half;
  return w + (((1.0 - w) - half) + q);
}
// The sine `shift` quarter turns on.
KW_INLINE vd8 turn(vd8 x, int64_t shift) {
  vl8 n;
  vd8 r = quadrant(x, n), z = r * r;
  n += shift;
  vd8 y = ((n & 1) == 0) ? sin_part(r, z) : cos_part(z);
  y = shift == 0 ? (x == 0.0 ? x : y) : y;
  return (vd8)((vl8)y ^ ((n & 2) << 62));
}
template <class F>
__attribute__((noinline, cold)) inline void by_lane(const vd8& x, vd8& y, const F& f) {
  for (int k = 0; k < 8; ++k)
    if (!(__builtin_fabs(x[k]) <= 1e5)) y[k] = f(x[k]);
}
KW_INLINE bool any_large(vd8 x) {
  vl8 m = ~(magnitude(x) <= 1e5);
  int64_t all = 0;
  for (int k = 0; k < 8; ++k) all |= m[k];
  return all != 0;
}
KW_INLINE vd8 sin(vd8 x) {
  vd8 y = turn(x, 0);
  if (__builtin_expect(any_large(x), 0)) by_lane(x, y, [](double v) { return __builtin_sin(v); });
  return y;
}
KW_INLINE vd8 cos(vd8 x) {
  vd8 y = turn(x, 1);
  if (__builtin_expect(any_large(x), 0)) by_lane(x, y, [](double v) { return __builtin_cos(v); });
  return y;
}

// Rational functions on four ranges of |x|, one division for all: x + x p/q, erx + p/q, and twice 1 - e^(p/q - x^2 - c) / x.
KW_INLINE vd8 erf(vd8 x) {
  vd8 a = at_most(magnitude(x), 6.0), z = a * a, s = a - 1.0, t = 1.0 / at_least(z, 1.0);
  vl8 inner = a < 0.84375, middle = a < 1.25, near = a < 1.0 / 0.35;
  vd8 p0 = poly(z, 1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
                -5.77027029648944159157e-03, -2.37630166566501626084e-05);
  vd8 q0 = poly(z, 1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
                1.32494738004321644526e-04, -3.96022827877536812320e-06);
  vd8 p1 = poly(s, -2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
                3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
                -2.16637559486879084300e-03);
  vd8 q1 = poly(s, 1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
                1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02);
  vd8 p2 = poly(t, -9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
                -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
                -8.12874355063065934246e+01, -9.81432934416914548592e+00);
  vd8 q2 = poly(t, 1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
                6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
                6.57024977031928170135e+00, -6.04244152148580987438e-02);
  vd8 p3 = poly(t, -9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
                -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
                -4.83519191608651397019e+02);
  vd8 q3 = poly(t, 1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
                3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
                -2.24409524465858183362e+01);
  vd8 ratio = (inner ? p0 : middle ? p1 : near ? p2 : p3) / (inner ? q0 : middle ? q1 : near ? q2 : q3);
  vd8 tail = 1.0 - exp(ratio - z - 0.5625) / at_least(a, 1.0);
  vd8 y = inner ? a * ratio + a : middle ? ratio + 8.45062911510467529297e-01 : tail;
  return with_sign(x == x ? y : x, x);
}

}  // namespace wide

#define KW_WIDE(NAME) \
  KW_INLINE vd NAME(vd x) { return {wide::NAME(x.lo), wide::NAME(x.hi)}; }
KW_WIDE(exp)
KW_WIDE(exp2)
KW_WIDE(expm1)
KW_WIDE(tanh)
KW_WIDE(sigmoid)
KW_WIDE(log)
KW_WIDE(log2)
KW_WIDE(log10)
KW_WIDE(log1p)
KW_WIDE(sin)
KW_WIDE(cos)
KW_WIDE(erf)
#undef KW_WIDE

}  // namespace kw
