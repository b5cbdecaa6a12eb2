// Elementary functions on sixteen float32 lanes in straight-line vector arithmetic: no calls, no tables, no branches but
// for arguments of sin, cos and tan so large that reducing them takes more bits than three floats carry.
//
// The polynomials are minimax fits of the relative error of the function, their coefficients rounded one after the other
// with those that follow fitted again. tests/targets/test_elementary.py asserts the errors in units in the last place.
// The bounds need fused multiply-add; without it (-mno-fma) they grow by a unit or two.
#pragma once
#include <kw/vec.h>

namespace kw {

// ── parts ──────────────────────────────────────────────────────────────────────────────────────────────────────────
namespace lane {

// c + c1 x + c2 x^2 + ...
KW_INLINE vf poly(vf, float c) { return splat<vf>(c); }
template <class... C>
KW_INLINE vf poly(vf x, float c, float next, C... rest) {
  return poly(x, next, rest...) * x + c;
}
KW_INLINE vf magnitude(vf x) { return (vf)((vi)x & 0x7fffffff); }
KW_INLINE vf with_sign(vf x, vf s) { return (vf)(((vi)x & 0x7fffffff) | ((vi)s & INT32_MIN)); }

// One rounding, where the algorithm depends on it; elsewhere the compiler contracts a * b + c by itself.
KW_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__clang__)
  return __builtin_elementwise_fma(a, b, c);
#elif defined(__AVX512F__)
  return __builtin_ia32_vfmaddps512_mask(a, b, c, (short)-1, 4);
#elif defined(__FMA__)
  return join(__builtin_ia32_vfmaddps256(low(a), low(b), low(c)), __builtin_ia32_vfmaddps256(high(a), high(b), high(c)));
#else
  for (int k = 0; k < W; ++k) c[k] = __builtin_fmaf(a[k], b[k], c[k]);
  return c;
#endif
}
KW_INLINE vf fma(vf a, float b, vf c) { return fma(a, splat<vf>(b), c); }

// x bounded, NaN kept: the instruction returns its second operand where the two do not compare.
KW_INLINE vf at_most(vf x, float bound) {
#if defined(__AVX512F__) && !defined(__clang__)
  return __builtin_ia32_minps512_mask(splat<vf>(bound), x, x, (short)-1, 4);
#elif defined(__AVX__) && !defined(__clang__)
  vf8 b = low(splat<vf>(bound));
  return join(__builtin_ia32_minps256(b, low(x)), __builtin_ia32_minps256(b, high(x)));
#else
  return splat<vf>(bound) < x ? splat<vf>(bound) : x;
#endif
}
KW_INLINE vf at_least(vf x, float bound) {
#if defined(__AVX512F__) && !defined(__clang__)
  return __builtin_ia32_maxps512_mask(splat<vf>(bound), x, x, (short)-1, 4);
#elif defined(__AVX__) && !defined(__clang__)
  vf8 b = low(splat<vf>(bound));
  return join(__builtin_ia32_maxps256(b, low(x)), __builtin_ia32_maxps256(b, high(x)));
#else
  return splat<vf>(bound) > x ? splat<vf>(bound) : x;
#endif
}

// p 2^n for integral n, |n| <= 250, rounded once where the result is denormal.
KW_INLINE vf scale(vf p, vf n) {
#if defined(__AVX512F__)
  return __builtin_ia32_scalefps512_mask(p, n, p, (short)-1, 4);
#else
  vi e = to<vi>(n), half = e >> 1;  // two factors, both within the exponent's range
  return p * (vf)((half + 127) << 23) * (vf)((e - half + 127) << 23);
#endif
}

// n / d for d in [2^-60, 2^60], to a unit in the last place: an estimate and its correction take four instructions, the
// divider is busy for ten cycles. A zero loses its sign.
KW_INLINE vf quotient(vf n, vf d) {
#if defined(__AVX512F__)
  vf r = __builtin_ia32_rcp14ps512_mask(d, d, (short)-1), q = n * r;
  return fma(fma(-q, d, n), r, q);
#else
  return n / d;
#endif
}

// x = m 2^e with m in [0.75, 1.5). 0 is (1, -inf), inf is (1, inf); m is NaN for negative numbers and NaN.
struct Split {
  vf m, e;
};
KW_INLINE Split split(vf x) {
#if defined(__AVX512F__)
  vf m = __builtin_ia32_getmantps512_mask(x, 11, x, (short)-1, 4);
  vf e = __builtin_ia32_getexpps512_mask(x, x, (short)-1, 4);
  return {m, m < 1.0f ? e + 1.0f : e};
#else
  vf inf = splat<vf>(__builtin_inff());
  vi tiny = x < 0x1p-126f, zero = x == 0.0f, huge = x == inf;
  vi u = (vi)(tiny ? x * 0x1p24f : x), e = (u - 0x3f400000) >> 23;
  vf m = (vf)(u - (e << 23)), n = __builtin_convertvector(e - (tiny & 24), vf);
  m = (zero | huge) ? splat<vf>(1.0f) : m;
  return {x >= 0.0f ? m : inf - inf, zero ? -inf : (huge ? inf : n)};
#endif
}

constexpr float ROUND = 0x1.8p23f;  // adding and taking it away rounds to an integer; the sum's low bits are that integer
constexpr float LN2_HI = 0.693145752f, LN2_LO = 1.42860677e-6f;  // 16 bits and the rest
constexpr float PI_2_HI = 1.57079637f, PI_2_LO = -4.37113883e-8f;

// e^x = 2^n p, for |x| < 2^21.
struct Power {
  vf p, n;
};
KW_INLINE vf reduce(vf x, vf& n) {
  n = (x * 1.44269504f + ROUND) - ROUND;
  return fma(n, -LN2_LO, fma(n, -LN2_HI, x));
}
KW_INLINE vf exp_poly(vf r) {
  return poly(r, 1.0f, 1.0f, 0.49999994f, 0.166665196f, 0.0416682586f, 0.0083688572f, 0.00138217676f);
}
KW_INLINE vf exp2_poly(vf r) {
  return poly(r, 1.0f, 0.693147182f, 0.240226477f, 0.0555035919f, 0.00961850118f, 0.00133912149f, 0.000153289657f);
}
KW_INLINE Power exp_parts(vf x) {
  vf n, r = reduce(x, n);
  return {exp_poly(r), n};
}
// e^x = 2^n (1 + p).
KW_INLINE Power expm1_parts(vf x) {
  vf n, r = reduce(x, n);
  return {r * r * poly(r, 0.49999997f, 0.16666545f, 0.041667439f, 0.00836645346f, 0.00138705561f) + r, n};
}
// e^|x| / 2 and e^-|x| / 2; the second only matters, and is only right, while the first is below 2^30.
KW_INLINE vf half_exp(vf x, vf& inverse) {
  Power e = exp_parts(at_most(magnitude(x), 89.5f));
  vf h = scale(e.p, e.n - 1.0f);
  inverse = quotient(splat<vf>(0.25f), at_most(h, 0x1p30f));
  return h;
}

// ln(1 + f) - f, for f in [-0.25, 0.5].
KW_INLINE vf log_tail(vf f) {
  return f * f * poly(f, -0.5f, 0.333334506f, -0.250001043f, 0.199908197f, -0.166469991f, 0.144783214f, -0.131638736f,
                      0.104688786f, -0.0451120548f);
}

// |x| > 1e5 goes to the C library, lane by lane.
constexpr float REDUCIBLE = 1e5f;
template <class F>
__attribute__((noinline, cold)) inline void by_lane(const vf& x, vf& y, const F& f) {
  for (int k = 0; k < W; ++k)
    if (!(__builtin_fabsf(x[k]) <= REDUCIBLE)) y[k] = f(x[k]);
}
template <class F>
KW_INLINE vf large(vf x, vf y, const F& f) {
  if (__builtin_expect(!any(magnitude(x) > REDUCIBLE), 1)) return y;
  vf patched = y;
  by_lane(x, patched, f);
  return patched;
}
// x - n pi / PARTS in three steps, the first exact; all of one sign, so that -0 stays -0.
template <int PARTS>
KW_INLINE vf reduce_pi(vf x, vf n) {
  x = fma(n, -3.1415925f / PARTS, x);
  x = fma(n, -1.50995788e-07f / PARTS, x);
  return fma(n, -1.07806059e-14f / PARTS, x);
}
// The last coefficient is a little lower than the best fit: no result exceeds 1.
// The last coefficient is a little below the best fit: no result exceeds 1.
KW_INLINE vf sin_poly(vf r) {
  vf z = r * r;
  vf y = r * z * poly(z, -0.166666597f, 0.00833306927f, -0.000198097739f, 2.60565e-06f) + r;
  return r == 0.0f ? r : y;  // -0
}
// asin(s) for s in [0, 1/2], z = s^2.
KW_INLINE vf asin_poly(vf s, vf z) {
  return s * z * poly(z, 0.166667521f, 0.0749530718f, 0.0454696417f, 0.0241814982f, 0.0421651192f) + s;
}
// atan(t) for t in [0, 1].
KW_INLINE vf atan_poly(vf t) {
  vf z = t * t;
  return t * z * poly(z, -0.333332986f, 0.19998531f, -0.142640516f, 0.109511748f, -0.0840047523f, 0.0579065457f,
                      -0.0311270021f, 0.0108873611f, -0.0017875476f) + t;
}

}  // namespace lane

KW_INLINE vf sqrt(vf x) {
#if defined(__clang__)
  return __builtin_elementwise_sqrt(x);
#elif defined(__AVX512F__)
  return __builtin_ia32_sqrtps512_mask(x, x, (short)-1, 4);
#elif defined(__AVX__)
  return join(__builtin_ia32_sqrtps256(low(x)), __builtin_ia32_sqrtps256(high(x)));
#else
  for (int k = 0; k < W; ++k) x[k] = __builtin_sqrtf(x[k]);
  return x;
#endif
}

// An estimate of 14 bits and one Newton step: half the time of a square root and a division, and a smaller error.
KW_INLINE vf rsqrt(vf x) {
#if defined(__AVX512F__)
  vf r = __builtin_ia32_rsqrt14ps512_mask(x, x, (short)-1), e = lane::fma(-(x * r), r, splat<vf>(1.0f));
  return e == e ? r * e * 0.5f + r : r;  // of 0, inf and negative numbers the estimate is the result
#else
  return 1.0f / sqrt(x);
#endif
}

// ── exponentials ───────────────────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf exp(vf x) {
  lane::Power e = lane::exp_parts(lane::at_most(lane::at_least(x, -110.0f), 90.0f));
  return lane::scale(e.p, e.n);
}
KW_INLINE vf exp2(vf x) {
  x = lane::at_most(lane::at_least(x, -160.0f), 130.0f);
  vf n = (x + lane::ROUND) - lane::ROUND;
  return lane::scale(lane::exp2_poly(x - n), n);
}
KW_INLINE vf expm1(vf x) {
  lane::Power e = lane::expm1_parts(lane::at_most(lane::at_least(x, -20.0f), 89.0f));
  vf s = lane::scale(splat<vf>(0.5f), e.n);  // half of 2^n: 2^128 is no float, yet e^88.7 is
  return lane::with_sign(lane::fma(s, e.p, s - 0.5f) * 2.0f, x);
}
// From e^-|x|: it cannot overflow, and the left tail keeps its relative precision.
KW_INLINE vf sigmoid(vf x) {
  lane::Power e = lane::exp_parts(lane::at_least(-lane::magnitude(x), -110.0f));
  vf small = lane::scale(e.p, e.n);
  return lane::quotient(x < 0.0f ? small : splat<vf>(1.0f), small + 1.0f);
}
KW_INLINE vf tanh(vf x) {  // t / (t + 2) with t = e^2|x| - 1
  vf a = lane::at_most(lane::magnitude(x), 10.0f);
  lane::Power e = lane::expm1_parts(a + a);
  vf s = lane::scale(splat<vf>(1.0f), e.n), t = lane::fma(s, e.p, s - 1.0f);
  return lane::with_sign(lane::quotient(t, t + 2.0f), x);
}
KW_INLINE vf sinh(vf x) {
  vf inverse, h = lane::half_exp(x, inverse), z = x * x;
  vf small = x * z * lane::poly(z, 0.166667163f, 0.00833027437f, 0.000203728327f) + x;
  return lane::with_sign(lane::magnitude(x) < 1.0f ? small : h - inverse, x);
}
KW_INLINE vf cosh(vf x) {
  vf inverse, h = lane::half_exp(x, inverse);
  return h + inverse;
}

// ── logarithms ─────────────────────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf log(vf x) {
  lane::Split s = lane::split(x);
  vf f = s.m - 1.0f;
  return s.e * 0.693147182f + (lane::log_tail(f) + f);
}
KW_INLINE vf log2(vf x) {
  lane::Split s = lane::split(x);
  vf f = s.m - 1.0f;
  return (lane::log_tail(f) + f) * 1.44269502f + s.e;
}
KW_INLINE vf log10(vf x) {
  // e log10(2) and the rest cancel in part below 1, so what is added last must be small.
  lane::Split s = lane::split(x);
  vf f = s.m - 1.0f, rest = lane::log_tail(f) * 0.434294492f + s.e * 1.54813335e-08f;
  return lane::fma(s.e, 0.30102998f, f * 0.434294492f) + rest;
}
KW_INLINE vf log1p(vf x) {
  vf u = x + 1.0f, back = u - 1.0f, lost = (1.0f - (u - back)) + (x - back);  // 1 + x = u + lost
  lane::Split s = lane::split(u);
  vf f = (s.m - 1.0f) + lane::scale(lost, -s.e);
  vf y = s.e * 0.693147182f + (lane::log_tail(f) + f);
  y = lane::magnitude(s.e) < 200.0f ? y : s.e * s.m;  // -1, inf and NaN
  return lane::with_sign(y, x);
}
KW_INLINE vf asinh(vf x) {
  vf a = lane::magnitude(x), z = a * a;
  vi big = a > 0x1p30f;
  vf y = log1p(big ? a : a + z / (sqrt(z + 1.0f) + 1.0f));
  return lane::with_sign(big ? y + 0.693147182f : y, x);
}
KW_INLINE vf acosh(vf x) {
  vf t = x - 1.0f;
  vi big = x > 0x1p30f;
  vf y = log1p(big ? x : t + sqrt(t * (t + 2.0f)));
  y = big ? y + 0.693147182f : y;
  return x < 1.0f ? splat<vf>(__builtin_nanf("")) : y;
}
KW_INLINE vf atanh(vf x) {
  vf a = lane::magnitude(x);
  return lane::with_sign(log1p(a / (1.0f - a) * 2.0f) * 0.5f, x);
}

// ── trigonometry ───────────────────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf sin(vf x) {
  vf t = x * 0.318309873f + lane::ROUND, r = lane::reduce_pi<1>(x, t - lane::ROUND);
  r = (vf)((vi)r ^ ((vi)t << 31));
  return lane::large(x, lane::sin_poly(r), [](float v) { return __builtin_sinf(v); });
}
KW_INLINE vf cos(vf x) {  // -sin(x - (n + 1/2) pi) (-1)^n
  vf t = (x * 0.318309873f - 0.5f) + lane::ROUND, r = lane::reduce_pi<1>(x, (t - lane::ROUND) + 0.5f);
  r = (vf)((vi)r ^ (~(vi)t << 31));
  return lane::large(x, lane::sin_poly(r), [](float v) { return __builtin_cosf(v); });
}
KW_INLINE vf tan(vf x) {
  vf t = x * 0.636619747f + lane::ROUND, r = lane::reduce_pi<2>(x, t - lane::ROUND), z = r * r;
  vf y = r * z * lane::poly(z, 0.333331555f, 0.133388326f, 0.0534086414f, 0.0244393274f, 0.00310538197f,
                            0.00939394906f) + r;
  y = ((vi)t << 31) < 0 ? lane::quotient(splat<vf>(-1.0f), y) : y;
  return lane::large(x, y, [](float v) { return __builtin_tanf(v); });
}
KW_INLINE vf asin(vf x) {
  vf a = lane::magnitude(x), rest = (1.0f - a) * 0.5f;
  vi outer = a > 0.5f;
  vf p = lane::asin_poly(outer ? sqrt(rest) : a, outer ? rest : a * a);
  return lane::with_sign(outer ? lane::PI_2_HI - (p + p - lane::PI_2_LO) : p, x);
}
KW_INLINE vf acos(vf x) {
  vf a = lane::magnitude(x), rest = (1.0f - a) * 0.5f, zero{};
  vi outer = a > 0.5f, left = x < 0.0f;
  vf p = lane::asin_poly(outer ? sqrt(rest) : a, outer ? rest : a * a);
  vf q = outer ? p + p : -p;  // pi/2 - asin(a), or 2 asin(sqrt((1 - a) / 2)); mirrored for negative x
  q = left ? -q : q;
  vf hi = outer ? (left ? splat<vf>(2 * lane::PI_2_HI) : zero) : splat<vf>(lane::PI_2_HI);
  vf lo = outer ? (left ? splat<vf>(2 * lane::PI_2_LO) : zero) : splat<vf>(lane::PI_2_LO);
  return hi + (q + lo);
}
KW_INLINE vf atan(vf x) {
  vf a = lane::magnitude(x);
  vf p = lane::atan_poly(lane::at_most(a, 1.0f) / lane::at_least(a, 1.0f));
  return lane::with_sign(a > 1.0f ? lane::PI_2_HI - (p - lane::PI_2_LO) : p, x);
}
KW_INLINE vf atan2(vf y, vf x) {
  vf a = lane::magnitude(y), b = lane::magnitude(x);
  vi steep = a > b;
  vf low = steep ? b : a, high = steep ? a : b;
  vf t = low / high;
  t = low == high ? (high == 0.0f ? high : splat<vf>(1.0f)) : t;  // 0 / 0 and inf / inf
  vf p = lane::atan_poly(t);
  p = steep ? lane::PI_2_HI - (p - lane::PI_2_LO) : p;
  p = (vi)x < 0 ? 2 * lane::PI_2_HI - (p - 2 * lane::PI_2_LO) : p;
  return lane::with_sign(p, y);
}

// ── error function ─────────────────────────────────────────────────────────────────────────────────────────────────
// erf(x) = 1 - e^(-x Q(x)) for x >= 0, where Q = -ln(erfc(x)) / x is smooth; e^y - 1 keeps the precision of small x.
KW_INLINE vf erf(vf x) {
  vf a = lane::at_most(lane::magnitude(x), 4.0f);
  vf q = lane::poly(a, 1.12837923f, 0.636615038f, 0.102832176f, -0.0194009524f, 0.00037250336f, 0.00106815319f,
                    -0.000272942765f, 8.67101608e-06f, 3.74099272e-06f);
  lane::Power e = lane::expm1_parts(-a * q);
  vf s = lane::scale(splat<vf>(1.0f), e.n);
  return lane::with_sign(lane::fma(s, e.p, s - 1.0f), x);
}
// e^(-a^2) G(a) / (1 + 2a), where G is smooth in (a - 2) / (a + 2) up to the last a whose erfc is not zero.
KW_INLINE vf erfc(vf x) {
  vf a = lane::at_most(lane::magnitude(x), 10.1f), square = a * a, lost = lane::fma(a, a, -square);
  vf t = lane::quotient(a - 2.0f, a + 2.0f);
  vf g = lane::poly(t, 1.27697837f, -0.0927638561f, -0.166030854f, 0.16405265f, -0.0542088449f, -0.00804330688f,
                    0.00864887424f, 0.00127435999f, -0.00126409368f, -0.000368575391f, 2.78282987e-05f);
  vf n, r = lane::reduce(-square, n);
  vf y = lane::scale(lane::exp_poly(r - lost) * lane::quotient(g, a + a + 1.0f), n);
  return x < 0.0f ? 2.0f - y : y;
}

// ── powers ─────────────────────────────────────────────────────────────────────────────────────────────────────────
namespace lane {

// log2|x| to 33 bits; 0, inf and NaN as they should be.
KW_INLINE vd8 log2_wide(vf8 x) {
  vd8 wide = __builtin_convertvector(x, vd8);
#if defined(__AVX512F__)
  vd8 m = __builtin_ia32_getmantpd512_mask(wide, 7, wide, (char)-1, 4);
  vd8 e = __builtin_ia32_getexppd512_mask(wide, wide, (char)-1, 4);
  e = m < 1.0 ? e + 1.0 : e;
#else
  wide = (vd8)((vl8)wide & INT64_MAX);
  vl8 u = (vl8)wide, n = (u - 0x3fe8000000000000) >> 52;
  vd8 m = (vd8)(u - (n << 52)), e = __builtin_convertvector(n, vd8);
  m = wide == 0.0 ? 0.0 * wide + 1.0 : m;
  e = wide == 0.0 ? wide - __builtin_inf() : e;
  e = wide < __builtin_inf() ? e : wide;
#endif
  vd8 f = m - 1.0;
  vd8 p = f * -0.044953357821073264 + 0.11550207374471726;
  p = p * f - 0.15286995231300757;
  p = p * f + 0.16465721221815097;
  p = p * f - 0.18031469237580219;
  p = p * f + 0.20582039621987241;
  p = p * f - 0.2404282146979958;
  p = p * f + 0.28854602325187889;
  p = p * f - 0.36067435940962395;
  p = p * f + 0.48089828223013559;
  p = p * f - 0.72134751685582088;
  p = p * f + 1.4426950409945387;
  return p * f + e;
}
// z rounded into n, the rest returned; z beyond the exponents of float is bounded.
KW_INLINE vf8 fraction(vd8 z, vf8& n) {
  z = z > 200.0 ? 200.0 - vd8{} : z;
  z = z < -200.0 ? -200.0 - vd8{} : z;
  vd8 near = (z + 0x1.8p52) - 0x1.8p52;
  n = __builtin_convertvector(near, vf8);
  return __builtin_convertvector(z - near, vf8);
}

}  // namespace lane

// 2^(y log2|x|): the logarithm in double, the power in float. The cases are those of the C library.
KW_INLINE vf pow(vf x, vf y) {
  vf8 low_n, high_n;
  vf8 low_r = lane::fraction(lane::log2_wide(low(x)) * __builtin_convertvector(low(y), vd8), low_n);
  vf8 high_r = lane::fraction(lane::log2_wide(high(x)) * __builtin_convertvector(high(y), vd8), high_n);
  vf power = lane::scale(lane::exp2_poly(join(low_r, high_r)), join(low_n, high_n));
  vf a = lane::magnitude(x), b = lane::magnitude(y), half = b * 0.5f;
  // Adding and taking away 2^23 rounds below that number; above it every float is an integer, above 2^24 an even one.
  vi whole = (b >= 0x1p23f) | ((b + 0x1p23f) - 0x1p23f == b);
  vi even = (half >= 0x1p23f) | ((half + 0x1p23f) - 0x1p23f == half);
  vf inf = splat<vf>(__builtin_inff());
  vi undefined = (x < 0.0f) & ~whole & (a < inf);
  power = undefined ? splat<vf>(__builtin_nanf("")) : power;
  power = (vf)((vi)power ^ ((vi)x & whole & ~even & INT32_MIN));
  vi one = (y == 0.0f) | (x == 1.0f) | ((a == 1.0f) & (b == inf));
  return one ? splat<vf>(1.0f) : power;
}

}  // namespace kw
