// Elementary functions of sixteen float32 lanes (and of doubles where said), in vector arithmetic alone.
//
// Polynomials are minimax fits (Lawson iterations over Chebyshev nodes) of the function named beside them, computed for
// this file. Errors are a few units in the last place over the whole range; NaN, infinities, zeros and denormals behave
// as in the C library.
#pragma once
#include <kw/vec.h>

namespace kw {

// c0 + c1 x + c2 x^2 + ...
KW_INLINE vf horner(vf, float c) { return splat<vf>(c); }
KW_INLINE vd horner(vd, double c) { return splat<vd>(c); }
template <class V, class C, class... Rest>
KW_INLINE V horner(V x, C c, Rest... rest) {
  return horner(x, rest...) * x + c;
}

KW_INLINE vf as_float(vi x) { return (vf)x; }
KW_INLINE vi as_int(vf x) { return (vi)x; }
KW_INLINE vf magnitude(vf x) { return as_float(as_int(x) & 0x7fffffff); }
KW_INLINE vi sign_bit(vf x) { return as_int(x) & INT32_MIN; }
// To nearest, ties to even, for |x| < 2^22.
KW_INLINE vf nearest(vf x) {
  return (x + 0x1.8p23f) - 0x1.8p23f;
}
// x 2^n for any n a float can hold, with gradual underflow.
KW_INLINE vf scale2(vf x, vf n) {
#if defined(__AVX512F__) && !defined(__clang__)
  return __builtin_ia32_scalefps512_mask(x, n, x, (short)-1, 4);
#else
  vi k = __builtin_convertvector(n, vi), half = k >> 1, rest = k - half;
  return x * as_float((half + 127) << 23) * as_float((rest + 127) << 23);
#endif
}

KW_INLINE vf sqrt(vf x) {
#if defined(__clang__)
  return __builtin_elementwise_sqrt(x);
#elif defined(__AVX512F__)
  return __builtin_ia32_sqrtps512_mask(x, x, (short)-1, 4);
#else
  for (int k = 0; k < W; ++k) x[k] = __builtin_sqrtf(x[k]);
  return x;
#endif
}

// ── exponentials ───────────────────────────────────────────────────────────────────────────────────────────────────
constexpr float LN2_HI = 0x1.62e4p-1f, LN2_LO = 0x1.7f7d1cp-20f;  // the high part has 15 bits: n LN2_HI is exact

// e^x = 2^n e^r with |r| <= ln2 / 2; beyond the limits the result is 0 or infinity anyway. NaN passes through.
KW_INLINE vf reduce_exp(vf x, vf& n) {
  x = x > 89.0f ? splat<vf>(89.0f) : x;
  x = x < -104.0f ? splat<vf>(-104.0f) : x;
  n = nearest(x * 1.44269504f);
  return (x - n * LN2_HI) - n * LN2_LO;
}
KW_INLINE vf exp_core(vf r) {  // e^r: (e^r - 1 - r) / r^2
  vf q = horner(r, 0.5f, 0.16666517f, 0.041666202f, 0.008369097f, 0.0013950848f);
  return (r * r) * q + r + 1.0f;
}
KW_INLINE vf exp(vf x) {
  vf n, r = reduce_exp(x, n);
  return scale2(exp_core(r), n);
}
KW_INLINE vf exp2(vf x) {
  x = x > 129.0f ? splat<vf>(129.0f) : x;
  x = x < -151.0f ? splat<vf>(-151.0f) : x;
  vf n = nearest(x);
  return scale2(exp_core((x - n) * 0.693147181f), n);
}
KW_INLINE vf expm1(vf x) {
  vf low = x < -18.0f ? splat<vf>(-18.0f) : x;
  vf n, r = reduce_exp(low, n);
  vf q = horner(r, 0.5f, 0.16666667f, 0.04166635f, 0.008333273f, 0.0013941325f, 0.00019914f);
  vf p = (r * r) * q + r;
  vf half = scale2(splat<vf>(0.5f), n);  // half the power, so that 2^128 does not overflow too early
  vf y = (p * half + (half - 0.5f)) * 2.0f;
  return (x == 0.0f) ? x : y;
}
KW_INLINE vf sigmoid(vf x) {
  vf e = exp(-magnitude(x));
  return (x < 0.0f ? e : splat<vf>(1.0f)) / (1.0f + e);
}
KW_INLINE vf tanh(vf x) {
  vf a = magnitude(x);
  a = a > 10.0f ? splat<vf>(10.0f) : a;
  vf t = expm1(a + a);
  return as_float(as_int(t / (t + 2.0f)) | sign_bit(x));
}
KW_INLINE vf sinh(vf x) {
  vf a = magnitude(x), t = expm1(a), h = exp(a * 0.5f);
  vf y = a < 1.0f ? 0.5f * (t + t / (t + 1.0f)) : 0.5f * t + (0.5f - 0.5f / (t + 1.0f));
  y = a > 88.0f ? (0.5f * h) * h : y;
  return as_float(as_int(y) | sign_bit(x));
}
KW_INLINE vf cosh(vf x) {
  vf a = magnitude(x), e = exp(a), h = exp(a * 0.5f);
  return a > 88.0f ? (0.5f * h) * h : 0.5f * e + 0.5f / e;
}

// ── logarithms ─────────────────────────────────────────────────────────────────────────────────────────────────────
// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for positive finite x, denormals included.
KW_INLINE vf reduce_log(vf x, vf& e) {
  vi tiny = x < 0x1p-126f;
  vi bits = as_int(tiny ? x * 0x1p23f : x);
  vi k = (bits - 0x3f3504f3) >> 23;
  e = __builtin_convertvector(k - (tiny & 23), vf);
  return as_float(bits - (k << 23)) - 1.0f;
}
// log(1 + f) = f - tail
KW_INLINE vf log_tail(vf f) {  // (log1p(f) - f + f^2/2) / f^3
  vf q = horner(f, 0.33333313f, -0.2500001f, 0.20002119f, -0.16667996f, 0.14219551f, -0.12405592f, 0.11888178f,
                -0.11675639f, 0.06746592f);
  vf s = f * f;
  return 0.5f * s - (s * f) * q;
}
KW_INLINE vf log_special(vf x, vf y) {
  y = x == 0.0f ? splat<vf>(-__builtin_inff()) : y;
  y = x == __builtin_inff() ? x : y;
  return x >= 0.0f ? y : splat<vf>(__builtin_nanf(""));
}
KW_INLINE vf log(vf x) {
  vf e, f = reduce_log(x, e);
  return log_special(x, e * LN2_HI + (f - (log_tail(f) - e * LN2_LO)));
}
KW_INLINE vf log2(vf x) {
  // log2(1+f) = f + (f (log2(e) - 1) - tail log2(e)): the leading term stays exact.
  vf e, f = reduce_log(x, e), t = log_tail(f);
  return log_special(x, e + (f + (f * 0.442695041f - t * 1.44269504f)));
}
KW_INLINE vf log10(vf x) {
  constexpr float HI = 0x1.344p-2f, LO = 0x1.3509f8p-18f;  // log10(2), 11 bits and the rest
  vf e, f = reduce_log(x, e), t = log_tail(f);
  return log_special(x, e * HI + (e * LO + (f - t) * 0.434294482f));
}
KW_INLINE vf log1p(vf x) {
  vf u = 1.0f + x, c = (x - (u - 1.0f)) / u;  // what rounding 1 + x lost
  vf e, f = reduce_log(u, e);
  vf y = e * LN2_HI + (f - (log_tail(f) - (e * LN2_LO + c)));
  y = log_special(u, y);
  y = x == __builtin_inff() ? x : y;
  return (magnitude(x) < 0x1p-25f) ? x : y;
}
KW_INLINE vf asinh(vf x) {
  vf a = magnitude(x), big = log(a) + 0.693147181f;
  vf y = log1p(a + a * a / (1.0f + sqrt(a * a + 1.0f)));
  y = a > 1e9f ? big : y;
  return as_float(as_int(y) | sign_bit(x));
}
KW_INLINE vf acosh(vf x) {
  vf t = x - 1.0f, big = log(x) + 0.693147181f;
  vf y = log1p(t + sqrt(2.0f * t + t * t));
  y = x > 1e9f ? big : y;
  return x >= 1.0f ? y : splat<vf>(__builtin_nanf(""));
}
KW_INLINE vf atanh(vf x) {
  vf a = magnitude(x);
  vf y = 0.5f * log1p((a + a) / (1.0f - a));
  y = a < 0x1p-12f ? a : y;
  return as_float(as_int(y) | sign_bit(x));
}

// ── trigonometry ───────────────────────────────────────────────────────────────────────────────────────────────────
constexpr float TRIG_LIMIT = 1e6f;  // beyond it the C library reduces the argument, lane by lane

// x - n pi/2 in double, n in the low bits of the integer result.
KW_INLINE vf reduce_trig(vf x, vi& quadrant) {
  vf scaled = x * 0.636619772f;
  scaled = magnitude(x) <= TRIG_LIMIT ? scaled : splat<vf>(0.0f);
  vf n = nearest(scaled);
  quadrant = __builtin_convertvector(n, vi);
  vd k = to<vd>(n);
  vd r = (to<vd>(x) - k * 0x1.921fb544p+0) - k * 0x1.0b4611a6p-34;
  return to<vf>(r);
}
KW_INLINE vf sin_core(vf r) {
  vf t = r * r;
  return (r * t) * horner(t, -0.16666667f, 0.008333329f, -0.00019839316f, 2.7181218e-06f) + r;
}
KW_INLINE vf cos_core(vf r) {
  vf t = r * r;
  return (t * t) * horner(t, 0.041666646f, -0.0013887353f, 2.4436607e-05f) + (1.0f - 0.5f * t);
}
template <class F>
KW_INLINE vf by_lane_where(vi lanes, vf x, vf y, const F& f) {
  if (__builtin_expect(any(lanes), 0))
    for (int k = 0; k < W; ++k)
      if (lanes[k]) y[k] = f(x[k]);
  return y;
}
KW_INLINE vi untame(vf x) { return ~(magnitude(x) <= TRIG_LIMIT); }
KW_INLINE vf sin(vf x) {
  vi q;
  vf r = reduce_trig(x, q);
  vf y = (q & 1) ? cos_core(r) : sin_core(r);
  y = as_float(as_int(y) ^ ((q & 2) << 30));
  y = x == 0.0f ? x : y;
  return by_lane_where(untame(x), x, y, [](float a) { return __builtin_sinf(a); });
}
KW_INLINE vf cos(vf x) {
  vi q;
  vf r = reduce_trig(x, q);
  vf y = (q & 1) ? sin_core(r) : cos_core(r);
  y = as_float(as_int(y) ^ (((q + 1) & 2) << 30));
  return by_lane_where(untame(x), x, y, [](float a) { return __builtin_cosf(a); });
}
KW_INLINE vf tan(vf x) {
  vi q;
  vf r = reduce_trig(x, q), s = sin_core(r), c = cos_core(r);
  vf y = (q & 1) ? -c / s : s / c;
  y = x == 0.0f ? x : y;
  return by_lane_where(untame(x), x, y, [](float a) { return __builtin_tanf(a); });
}
KW_INLINE vf asin_core(vf x, vf t) {  // asin(x) with t = x^2 <= 1/4: (asin(x) - x) / x^3
  return (x * t) * horner(t, 0.1666666f, 0.07500511f, 0.04451572f, 0.031817608f, 0.014402615f, 0.037565187f) + x;
}
constexpr float PI_2_HI = 0x1.921fb6p+0f, PI_2_LO = -0x1.777a5cp-25f;
KW_INLINE vf asin(vf x) {
  vf a = magnitude(x), t = (1.0f - a) * 0.5f;
  vi outer = a > 0.5f;
  vf s = sqrt(t);
  vf c = asin_core(outer ? s : a, outer ? t : a * a);
  vf y = outer ? PI_2_HI - (c + c - PI_2_LO) : c;
  return as_float(as_int(y) | sign_bit(x));
}
KW_INLINE vf acos(vf x) {
  vf a = magnitude(x), t = (1.0f - a) * 0.5f;
  vi outer = a > 0.5f;
  vf s = sqrt(t);
  vf c = asin_core(outer ? s : x, outer ? t : x * x);
  vf near = x < 0.0f ? 2.0f * PI_2_HI - (c + c - 2.0f * PI_2_LO) : c + c;
  return outer ? near : PI_2_HI - (c - PI_2_LO);
}
KW_INLINE vf atan_core(vf x) {  // |x| <= tan(pi/8)
  vf t = x * x;
  return (x * t) * horner(t, -0.33333313f, 0.19998434f, -0.14242741f, 0.105873615f, -0.06060524f) + x;
}
// atan(y / x) in the first quadrant, from the smaller of both over the larger.
KW_INLINE vf atan_quotient(vf low, vf high) {
  vf q = low / high;
  vi far = q > 0.41421356f;
  vf r = far ? (low - high) / (low + high) : q;
  vf y = atan_core(r);
  return far ? 0x1.921fb6p-1f + (y - 0x1.777a5cp-26f) : y;
}
KW_INLINE vf atan(vf x) {
  vf a = magnitude(x);
  vi steep = a > 1.0f;
  vf y = atan_quotient(steep ? splat<vf>(1.0f) : a, steep ? a : splat<vf>(1.0f));
  y = a == __builtin_inff() ? splat<vf>(0.0f) : y;
  y = steep ? PI_2_HI - (y - PI_2_LO) : y;
  return as_float(as_int(y) | sign_bit(x));
}
KW_INLINE vf atan2(vf y, vf x) {
  constexpr float tiny = 0x1p-100f, huge = 0x1p100f;
  vf a = magnitude(y), b = magnitude(x);
  vi steep = a > b;
  vf low = steep ? b : a, high = steep ? a : b;
  vf r = atan_quotient(low, high);
  r = steep ? PI_2_HI - (r - PI_2_LO) : r;
  r = as_int(x) < 0 ? 2.0f * PI_2_HI - (r - 2.0f * PI_2_LO) : r;
  r = as_float(as_int(r) | sign_bit(y));
  vi odd = ~((low >= tiny) & (high <= huge));  // zeros, infinities, NaN, extreme quotients
  if (__builtin_expect(any(odd), 0))
    for (int k = 0; k < W; ++k)
      if (odd[k]) r[k] = __builtin_atan2f(y[k], x[k]);
  return r;
}

// ── error function ─────────────────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf erf_small(vf x) {  // |x| < 1: erf(x) / x
  vf t = x * x;
  return x * horner(t, 1.1283791f, -0.37612626f, 0.112835854f, -0.026853811f, 0.0051883273f, -0.00080101914f,
                    7.853854e-05f);
}
KW_INLINE vf erf(vf x) {
  vf a = magnitude(x);
  a = a > 4.0f ? splat<vf>(4.0f) : a;
  // log(erfc(a)) on [1, 4]; erf is 1 in float32 beyond.
  vf l = horner(a, 0.00018803818f, -1.1295785f, -0.6332199f, -0.10841856f, 0.025208248f, -0.004204559f, 0.0004413359f,
                -2.1686812e-05f);
  vf tail = as_float(as_int(1.0f - exp(l)) | sign_bit(x));
  return a < 1.0f ? erf_small(x) : tail;
}
KW_INLINE vf erfc(vf x) {
  vf a = magnitude(x);
  vf c = a > 10.7f ? splat<vf>(10.7f) : a;
  vf t = (c - 2.0f) / (c + 2.0f);
  // erfc(a) exp(a^2) (1 + 2a) on [0.47, 10.7]
  vf r = horner(t, 1.2769784f, -0.092763826f, -0.1660304f, 0.16405119f, -0.05421987f, -0.008032464f, 0.008721343f,
                0.0012605893f, -0.0014509321f, -0.00041845508f, 0.00019560233f, 9.390782e-05f);
  vf h = as_float(as_int(c) & ~0xfff);  // h^2 is exact, so exp(-c^2) keeps its digits
  vf y = r / (1.0f + 2.0f * c) * exp(-(c - h) * (c + h)) * exp(-h * h);
  y = a > 10.7f ? splat<vf>(0.0f) : y;
  y = x < 0.0f ? 2.0f - y : y;
  y = a < 0.5f ? 1.0f - erf_small(x) : y;
  return x == x ? y : x;
}

// ── powers ─────────────────────────────────────────────────────────────────────────────────────────────────────────
// x^y = 2^(y log2 x) in double, for positive finite x and finite y; the C library takes the other lanes.
KW_INLINE vd8 log2_positive(vf8 x) {
  vi8 bits = (vi8)x;
  vi8 k = (bits - 0x3f3504f3) >> 23;
  vd8 m = __builtin_convertvector((vf8)(bits - (k << 23)), vd8);
  vd8 s = (m - 1.0) / (m + 1.0), t = s * s;
  vd8 q = 0.24343997969043846 * t + 0.26139555079997917;  // 2 atanh(s) / (s ln 2)
  q = q * t + 0.32061813983058496;
  q = q * t + 0.4121983714662829;
  q = q * t + 0.5770780175125411;
  q = q * t + 0.9617966939233275;
  q = q * t + 2.8853900817779277;
  return __builtin_convertvector(k, vd8) + s * q;
}
KW_INLINE vf8 exp2_double(vd8 z) {
  vd8 top = __builtin_convertvector(vi8{160, 160, 160, 160, 160, 160, 160, 160}, vd8);
  z = z > top ? top : z;
  z = z < -top ? -top : z;
  vi8 n = __builtin_convertvector(z + (z < 0.0 ? -0.5 - vd8{} : 0.5 + vd8{}), vi8);
  vd8 f = z - __builtin_convertvector(n, vd8);
  vd8 p = 1.5201708031287173e-05 * f + 0.0001546955307791519;
  p = p * f + 0.0013333925527620081;
  p = p * f + 0.00961802644230345;
  p = p * f + 0.05550410347220444;
  p = p * f + 0.2402265120415647;
  p = p * f + 0.6931471807311692;
  p = p * f + 0.9999999999610729;
  vl8 power = (__builtin_convertvector(n, vl8) + 1023) << 52;
  return __builtin_convertvector(p * (vd8)power, vf8);
}
KW_INLINE vf pow(vf x, vf y) {
  vf r = join(exp2_double(__builtin_convertvector(low(y), vd8) * log2_positive(low(x))),
              exp2_double(__builtin_convertvector(high(y), vd8) * log2_positive(high(x))));
  vi odd = ~((x >= 0x1p-126f) & (x < __builtin_inff()) & (magnitude(y) < __builtin_inff()));
  if (__builtin_expect(any(odd), 0))
    for (int k = 0; k < W; ++k)
      if (odd[k]) r[k] = __builtin_powf(x[k], y[k]);
  return r;
}

}  // namespace kw
