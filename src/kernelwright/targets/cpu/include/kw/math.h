// Mathematical functions on scalars and on sixteen lanes. Semantics are torch's for the same name.
//
// float32 lanes are computed in vector arithmetic (elementary.h), float64 lanes too where wide.h has the function; the rest
// call the C library one by one.
#pragma once
#include <kw/divide.h>
#include <kw/elementary.h>
#include <kw/wide.h>
#include <kw/reduce.h>

namespace kw {

// ── lane by lane through the C library ─────────────────────────────────────────────────────────────────────────────
template <class F>
KW_INLINE vf each(vf x, const F& f) {
  vf r{};
  for (int k = 0; k < W; ++k) r[k] = f(x[k]);
  return r;
}
template <class F>
KW_INLINE vd each(vd x, const F& f) {
  vd r{};
  for (int k = 0; k < 8; ++k) r.lo[k] = f(x.lo[k]);
  for (int k = 0; k < 8; ++k) r.hi[k] = f(x.hi[k]);
  return r;
}
template <class V, class F>
KW_INLINE V each(V x, V y, const F& f) {
  V r{};
  for (int k = 0; k < W; ++k) set(r, k, f(x[k], y[k]));
  return r;
}
#define KW_LIBM_D(NAME, FN)                                                                          \
  KW_INLINE double NAME(double x) { return FN(x); }                                                  \
  KW_INLINE vd NAME(vd x) {                                                                          \
    return each(x, [](double a) { return FN(a); });                                                  \
  }
#define KW_LIBM_S(NAME, FN) \
  KW_INLINE double NAME(double x) { return FN(x); }
#define KW_LIBM_F(NAME, FN) \
  KW_INLINE float NAME(float x) { return FN(x); }
#define KW_LIBM_2(NAME, F32, F64)                                                                    \
  KW_INLINE float NAME(float x, float y) { return F32(x, y); }                                       \
  KW_INLINE double NAME(double x, double y) { return F64(x, y); }                                    \
  KW_INLINE vf NAME(vf x, vf y) {                                                                    \
    return each(x, y, [](float a, float b) { return F32(a, b); });                                   \
  }                                                                                                  \
  KW_INLINE vd NAME(vd x, vd y) {                                                                    \
    return each(x, y, [](double a, double b) { return F64(a, b); });                                 \
  }
KW_LIBM_S(exp, __builtin_exp)
KW_LIBM_S(exp2, __builtin_exp2)
KW_LIBM_S(expm1, __builtin_expm1)
KW_LIBM_S(log, __builtin_log)
KW_LIBM_S(log2, __builtin_log2)
KW_LIBM_S(log10, __builtin_log10)
KW_LIBM_S(log1p, __builtin_log1p)
KW_LIBM_S(sin, __builtin_sin)
KW_LIBM_S(cos, __builtin_cos)
KW_LIBM_D(tan, __builtin_tan)
KW_LIBM_D(asin, __builtin_asin)
KW_LIBM_D(acos, __builtin_acos)
KW_LIBM_D(atan, __builtin_atan)
KW_LIBM_D(sinh, __builtin_sinh)
KW_LIBM_D(cosh, __builtin_cosh)
KW_LIBM_S(tanh, __builtin_tanh)
KW_LIBM_D(asinh, __builtin_asinh)
KW_LIBM_D(acosh, __builtin_acosh)
KW_LIBM_D(atanh, __builtin_atanh)
KW_LIBM_S(erf, __builtin_erf)
KW_LIBM_D(erfc, __builtin_erfc)
KW_LIBM_D(lgamma, __builtin_lgamma)
KW_LIBM_F(exp, __builtin_expf)
KW_LIBM_F(exp2, __builtin_exp2f)
KW_LIBM_F(expm1, __builtin_expm1f)
KW_LIBM_F(log, __builtin_logf)
KW_LIBM_F(log2, __builtin_log2f)
KW_LIBM_F(log10, __builtin_log10f)
KW_LIBM_F(log1p, __builtin_log1pf)
KW_LIBM_F(sin, __builtin_sinf)
KW_LIBM_F(cos, __builtin_cosf)
KW_LIBM_F(tan, __builtin_tanf)
KW_LIBM_F(asin, __builtin_asinf)
KW_LIBM_F(acos, __builtin_acosf)
KW_LIBM_F(atan, __builtin_atanf)
KW_LIBM_F(sinh, __builtin_sinhf)
KW_LIBM_F(cosh, __builtin_coshf)
KW_LIBM_F(tanh, __builtin_tanhf)
KW_LIBM_F(asinh, __builtin_asinhf)
KW_LIBM_F(acosh, __builtin_acoshf)
KW_LIBM_F(atanh, __builtin_atanhf)
KW_LIBM_F(erf, __builtin_erff)
KW_LIBM_F(erfc, __builtin_erfcf)
KW_LIBM_F(lgamma, __builtin_lgammaf)
#define KW_LIBM_2D(NAME, F32, F64)                                                                   \
  KW_INLINE float NAME(float x, float y) { return F32(x, y); }                                       \
  KW_INLINE double NAME(double x, double y) { return F64(x, y); }                                    \
  KW_INLINE vd NAME(vd x, vd y) {                                                                    \
    return each(x, y, [](double a, double b) { return F64(a, b); });                                 \
  }
KW_LIBM_2D(pow, __builtin_powf, __builtin_pow)
KW_LIBM_2D(atan2, __builtin_atan2f, __builtin_atan2)
#undef KW_LIBM_2D
KW_INLINE vf lgamma(vf x) {
  return each(x, [](float a) { return __builtin_lgammaf(a); });
}
KW_LIBM_2(fmod, __builtin_fmodf, __builtin_fmod)
#undef KW_LIBM_D
#undef KW_LIBM_S
#undef KW_LIBM_F
#undef KW_LIBM_2

// ── sign, magnitude, rounding ──────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
KW_INLINE vd abs(vd x) {
  constexpr int64_t m = INT64_MAX;
  return {(vd8)((vl8)x.lo & m), (vd8)((vl8)x.hi & m)};
}
KW_INLINE vi abs(vi x) { return x < 0 ? sub(vi{}, x) : x; }
KW_INLINE vl abs(vl x) { return select(lt(x, splat<vl>(0)), sub(vl{}, x), x); }
KW_INLINE float abs(float x) { return __builtin_fabsf(x); }
KW_INLINE double abs(double x) { return __builtin_fabs(x); }
KW_INLINE int32_t abs(int32_t x) { return x < 0 ? sub(int32_t(0), x) : x; }
KW_INLINE int64_t abs(int64_t x) { return x < 0 ? sub(int64_t(0), x) : x; }
KW_INLINE vi neg(vi x) { return sub(vi{}, x); }
KW_INLINE vl neg(vl x) { return sub(vl{}, x); }
KW_INLINE int32_t neg(int32_t x) { return sub(int32_t(0), x); }
KW_INLINE int64_t neg(int64_t x) { return sub(int64_t(0), x); }
KW_INLINE vf copysign(vf x, vf s) { return (vf)(((vi)x & 0x7fffffff) | ((vi)s & INT32_MIN)); }
KW_INLINE vd copysign(vd x, vd s) {
  constexpr int64_t m = INT64_MAX, b = INT64_MIN;
  return {(vd8)(((vl8)x.lo & m) | ((vl8)s.lo & b)), (vd8)(((vl8)x.hi & m) | ((vl8)s.hi & b))};
}
KW_INLINE float copysign(float x, float s) { return __builtin_copysignf(x, s); }
KW_INLINE double copysign(double x, double s) { return __builtin_copysign(x, s); }
// torch.sign: 0 for zero, and 0 for NaN.
KW_INLINE vf sign(vf x) { return from_mask<vf>(x > 0.0f) - from_mask<vf>(x < 0.0f); }
KW_INLINE vd sign(vd x) { return from_mask<vd>(gt(x, vd{})) - from_mask<vd>(lt(x, vd{})); }
KW_INLINE vi sign(vi x) { return (x < 0) - (x > 0); }
KW_INLINE vl sign(vl x) { return from_mask<vl>(gt(x, vl{})) - from_mask<vl>(lt(x, vl{})); }
KW_INLINE float sign(float x) { return float(x > 0) - float(x < 0); }
KW_INLINE double sign(double x) { return double(x > 0) - double(x < 0); }
KW_INLINE int32_t sign(int32_t x) { return (x > 0) - (x < 0); }
KW_INLINE int64_t sign(int64_t x) { return (x > 0) - (x < 0); }

#if defined(__AVX512F__) && !defined(__clang__)
#define KW_ROUND(NAME, MODE, SCALAR)                                                                              \
  KW_INLINE vf NAME(vf x) { return __builtin_ia32_rndscaleps_mask(x, MODE, x, (short)-1, 4); }                    \
  KW_INLINE vd NAME(vd x) {                                                                                       \
    return {__builtin_ia32_rndscalepd_mask(x.lo, MODE, x.lo, (char)-1, 4),                                        \
            __builtin_ia32_rndscalepd_mask(x.hi, MODE, x.hi, (char)-1, 4)};                                       \
  }
#elif defined(__clang__)
#define KW_ROUND(NAME, MODE, SCALAR)                                                                              \
  KW_INLINE vf NAME(vf x) { return __builtin_elementwise_##SCALAR(x); }                                           \
  KW_INLINE vd NAME(vd x) { return {__builtin_elementwise_##SCALAR(x.lo), __builtin_elementwise_##SCALAR(x.hi)}; }
#else
#define KW_ROUND(NAME, MODE, SCALAR)                                                                              \
  KW_INLINE vf NAME(vf x) {                                                                                       \
    return each(x, [](float a) { return __builtin_##SCALAR##f(a); });                                             \
  }                                                                                                               \
  KW_INLINE vd NAME(vd x) {                                                                                       \
    return each(x, [](double a) { return __builtin_##SCALAR(a); });                                               \
  }
#define __builtin_roundevenf __builtin_rintf
#define __builtin_roundeven __builtin_rint
#endif
KW_ROUND(floor, 9, floor)
KW_ROUND(ceil, 10, ceil)
KW_ROUND(trunc, 11, trunc)
KW_ROUND(round, 8, roundeven)
#undef KW_ROUND
KW_INLINE float floor(float x) { return __builtin_floorf(x); }
KW_INLINE double floor(double x) { return __builtin_floor(x); }
KW_INLINE float ceil(float x) { return __builtin_ceilf(x); }
KW_INLINE double ceil(double x) { return __builtin_ceil(x); }
KW_INLINE float trunc(float x) { return __builtin_truncf(x); }
KW_INLINE double trunc(double x) { return __builtin_trunc(x); }
KW_INLINE float round(float x) { return __builtin_rintf(x); }
KW_INLINE double round(double x) { return __builtin_rint(x); }
#define KW_INTEGRAL(NAME)                          \
  KW_INLINE vi NAME(vi x) { return x; }            \
  KW_INLINE vl NAME(vl x) { return x; }            \
  KW_INLINE int32_t NAME(int32_t x) { return x; }  \
  KW_INLINE int64_t NAME(int64_t x) { return x; }
KW_INTEGRAL(floor)
KW_INTEGRAL(ceil)
KW_INTEGRAL(trunc)
KW_INTEGRAL(round)
#undef KW_INTEGRAL

KW_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
KW_INLINE double sqrt(double x) { return __builtin_sqrt(x); }
#if defined(__clang__)
KW_INLINE vd sqrt(vd x) { return {__builtin_elementwise_sqrt(x.lo), __builtin_elementwise_sqrt(x.hi)}; }
#elif defined(__AVX512F__)
KW_INLINE vd sqrt(vd x) {
  return {__builtin_ia32_sqrtpd512_mask(x.lo, x.lo, (char)-1, 4), __builtin_ia32_sqrtpd512_mask(x.hi, x.hi, (char)-1, 4)};
}
#else
KW_INLINE vd sqrt(vd x) {
  return each(x, [](double a) { return __builtin_sqrt(a); });
}
#endif
KW_INLINE float reciprocal(float x) { return 1.0f / x; }
KW_INLINE double reciprocal(double x) { return 1.0 / x; }
KW_INLINE vf reciprocal(vf x) { return 1.0f / x; }
KW_INLINE vd reciprocal(vd x) { return 1.0 / x; }
template <class V>
KW_INLINE V rsqrt(V x) {
  return reciprocal(sqrt(x));
}

// ── division with remainder ────────────────────────────────────────────────────────────────────────────────────────
// Python's: the quotient rounds down and the remainder has the divisor's sign. Division by zero gives 0 or -1 lanes, not
// a trap: torch raises on integer division by zero, so no defined result is lost.
KW_INLINE int32_t truncdiv(int32_t a, int32_t b) { return b == 0 ? 0 : (b == -1 ? neg(a) : a / b); }
KW_INLINE int64_t truncdiv(int64_t a, int64_t b) { return b == 0 ? 0 : (b == -1 ? neg(a) : a / b); }
KW_INLINE int32_t fmod(int32_t a, int32_t b) { return b == 0 || b == -1 ? 0 : a % b; }
KW_INLINE int64_t fmod(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
template <class S>
KW_INLINE S floordiv_int(S a, S b) {
  S q = truncdiv(a, b), r = fmod(a, b);
  return q - S(r != 0 && ((r < 0) != (b < 0)));
}
template <class S>
KW_INLINE S mod_int(S a, S b) {
  S r = fmod(a, b);
  return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
}
KW_INLINE int32_t floordiv(int32_t a, int32_t b) { return floordiv_int(a, b); }
KW_INLINE int64_t floordiv(int64_t a, int64_t b) { return floordiv_int(a, b); }
KW_INLINE int32_t mod(int32_t a, int32_t b) { return mod_int(a, b); }
KW_INLINE int64_t mod(int64_t a, int64_t b) { return mod_int(a, b); }
// torch.floor_divide and torch.remainder on floats: exact remainder first, then the correction of its sign.
template <class S>
KW_INLINE S floordiv_float(S a, S b) {
  if (b == 0) return a / b;
  S r = fmod(a, b), q = (a - r) / b;
  if (r != 0 && ((b < 0) != (r < 0))) q -= 1;
  if (q == 0) return copysign(S(0), a / b);
  S down = floor(q);
  return q - down > S(0.5) ? down + 1 : down;
}
template <class S>
KW_INLINE S mod_float(S a, S b) {
  S r = fmod(a, b);
  return r != 0 && ((b < 0) != (r < 0)) ? r + b : r;
}
KW_INLINE float floordiv(float a, float b) { return floordiv_float(a, b); }
KW_INLINE double floordiv(double a, double b) { return floordiv_float(a, b); }
KW_INLINE float mod(float a, float b) { return mod_float(a, b); }
KW_INLINE double mod(double a, double b) { return mod_float(a, b); }
KW_INLINE float truncdiv(float a, float b) { return trunc(a / b); }
KW_INLINE double truncdiv(double a, double b) { return trunc(a / b); }
KW_INLINE vf truncdiv(vf a, vf b) { return trunc(a / b); }
KW_INLINE vd truncdiv(vd a, vd b) { return trunc(a / b); }
#define KW_EACH_2(NAME, V)                                              \
  KW_INLINE V NAME(V x, V y) {                                          \
    return each(x, y, [](auto a, auto b) { return NAME(a, b); });       \
  }
KW_EACH_2(floordiv, vf)
KW_EACH_2(floordiv, vd)
KW_EACH_2(mod, vf)
KW_EACH_2(mod, vd)
#ifndef __AVX512DQ__  // (divide.h has the rest)
KW_EACH_2(floordiv, vl)
KW_EACH_2(mod, vl)
#endif
KW_EACH_2(truncdiv, vi)
KW_EACH_2(truncdiv, vl)
KW_EACH_2(fmod, vi)
KW_EACH_2(fmod, vl)

// Integer powers by squaring; a negative exponent gives 0 except for bases 1 and -1.
template <class S>
KW_INLINE S pow_int(S base, S exponent) {
  if (exponent < 0) return base == 1 ? 1 : (base == -1 ? ((exponent & 1) ? S(-1) : S(1)) : S(0));
  S result = 1;
  for (; exponent; exponent >>= 1, base = mul(base, base))
    if (exponent & 1) result = mul(result, base);
  return result;
}
KW_INLINE int32_t pow(int32_t a, int32_t b) { return pow_int(a, b); }
KW_INLINE int64_t pow(int64_t a, int64_t b) { return pow_int(a, b); }
KW_EACH_2(pow, vi)
KW_EACH_2(pow, vl)

// ── the rest ───────────────────────────────────────────────────────────────────────────────────────────────────────
// Shifts of the width or more give 0 (or -1 for negative numbers to the right), as torch's do.
template <class S>
KW_INLINE S shl_one(S a, S b) {
  return b < 0 || b >= S(8 * sizeof(S)) ? 0 : mul(a, S(S(1) << b));
}
template <class S>
KW_INLINE S shr_one(S a, S b) {
  return b < 0 || b >= S(8 * sizeof(S)) ? (a < 0 ? -1 : 0) : a >> b;
}
KW_INLINE int32_t shl(int32_t a, int32_t b) { return shl_one(a, b); }
KW_INLINE int64_t shl(int64_t a, int64_t b) { return shl_one(a, b); }
KW_INLINE int32_t shr(int32_t a, int32_t b) { return shr_one(a, b); }
KW_INLINE int64_t shr(int64_t a, int64_t b) { return shr_one(a, b); }
KW_EACH_2(shl, vi)
KW_EACH_2(shl, vl)
KW_EACH_2(shr, vi)
KW_EACH_2(shr, vl)
#undef KW_EACH_2

KW_INLINE vi isnan(vf x) { return x != x; }
KW_INLINE vi isnan(vd x) { return ne(x, x); }
KW_INLINE bool isnan(float x) { return x != x; }
KW_INLINE bool isnan(double x) { return x != x; }
KW_INLINE vi isinf(vf x) { return abs(x) == __builtin_inff(); }
KW_INLINE vi isinf(vd x) { return eq(abs(x), splat<vd>(__builtin_inf())); }
KW_INLINE bool isinf(float x) { return abs(x) == __builtin_inff(); }
KW_INLINE bool isinf(double x) { return abs(x) == __builtin_inf(); }
KW_INLINE vi isnan(vi) { return vi{}; }
KW_INLINE vi isnan(vl) { return vi{}; }
KW_INLINE vi isinf(vi) { return vi{}; }
KW_INLINE vi isinf(vl) { return vi{}; }
KW_INLINE bool isnan(int32_t) { return false; }
KW_INLINE bool isnan(int64_t) { return false; }
KW_INLINE bool isinf(int32_t) { return false; }
KW_INLINE bool isinf(int64_t) { return false; }

// fmax and fmin ignore NaN; maximum and minimum (vec.h) propagate it.
template <class V>
KW_INLINE V fmax(V a, V b) {
  return select(isnan(a), b, select(isnan(b), a, maximum(a, b)));
}
template <class V>
KW_INLINE V fmin(V a, V b) {
  return select(isnan(a), b, select(isnan(b), a, minimum(a, b)));
}

// log(e^a + e^b) without overflow; -infinity is its identity.
template <class V>
KW_INLINE V logaddexp(V a, V b) {
  V top = maximum(a, b), low = minimum(a, b);
  V y = top + log1p(exp(low - top));
  return select(eq(a, b), a + fill<V>(scalar_t<V>(0.693147180559945309)), select(isinf(top), top, y));
}
template <class V>
struct LogSumExp {
  V v = identity();
  static KW_INLINE V identity() { return fill<V>(scalar_t<V>(-__builtin_inf())); }
  static KW_INLINE V join(V a, V b) { return logaddexp(a, b); }
  KW_INLINE void add(V x) { v = join(v, x); }
  KW_INLINE V value() const { return v; }
};

KW_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }
KW_INLINE double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

}  // namespace kw

#include <kw/scan.h>
