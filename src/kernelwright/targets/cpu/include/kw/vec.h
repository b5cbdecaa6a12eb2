// Sixteen-lane vectors in GCC/Clang vector extensions, with the same function names for scalars, so that generated code
// reads the same whether a value is one number or sixteen. Intrinsics appear only behind #ifdef, with a portable path.
//
//   vf  16 x float    (64 bytes)      vd  16 x double   (two 64-byte halves)
//   vi  16 x int32_t  (64 bytes)      vl  16 x int64_t  (two 64-byte halves)
//
// A mask is a vi of 0 / -1 whatever was compared. A scalar mask is a bool. GCC scalarises comparisons and conversions of
// vectors wider than a register, which is why the 128-byte types are pairs.
#pragma once
#include <kw/base.h>

extern "C" int madvise(void*, unsigned long, int);

namespace kw {

constexpr int W = 16;

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef double vd8 __attribute__((vector_size(64)));
typedef int64_t vl8 __attribute__((vector_size(64)));
typedef float vf8 __attribute__((vector_size(32)));
typedef int32_t vi8 __attribute__((vector_size(32)));
typedef uint16_t vu16 __attribute__((vector_size(32)));
typedef int16_t vs16 __attribute__((vector_size(32)));
typedef uint8_t vu8b __attribute__((vector_size(16)));
typedef int8_t vs8b __attribute__((vector_size(16)));
typedef uint64_t vul8 __attribute__((vector_size(64)));

struct vd {
  vd8 lo, hi;
  KW_INLINE double operator[](int k) const { return k < 8 ? lo[k] : hi[k - 8]; }
};
struct vl {
  vl8 lo, hi;
  KW_INLINE int64_t operator[](int k) const { return k < 8 ? lo[k] : hi[k - 8]; }
};

// ── lanes: set, get, splat, iota ───────────────────────────────────────────────────────────────────────────────────
template <class V>
struct lane_of;
template <>
struct lane_of<vf> {
  typedef float type;
};
template <>
struct lane_of<vi> {
  typedef int32_t type;
};
template <>
struct lane_of<vd> {
  typedef double type;
};
template <>
struct lane_of<vl> {
  typedef int64_t type;
};
template <class V>
using lane_t = typename lane_of<V>::type;

KW_INLINE void set(vf& v, int k, float x) { v[k] = x; }
KW_INLINE void set(vi& v, int k, int32_t x) { v[k] = x; }
KW_INLINE void set(vd& v, int k, double x) {
  if (k < 8) v.lo[k] = x;
  else v.hi[k - 8] = x;
}
KW_INLINE void set(vl& v, int k, int64_t x) {
  if (k < 8) v.lo[k] = x;
  else v.hi[k - 8] = x;
}

template <class V>
KW_INLINE V splat(lane_t<V> x);
template <>
KW_INLINE vf splat<vf>(float x) {
  return vf{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
template <>
KW_INLINE vi splat<vi>(int32_t x) {
  return vi{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
template <>
KW_INLINE vd splat<vd>(double x) {
  vd8 h{x, x, x, x, x, x, x, x};
  return {h, h};
}
template <>
KW_INLINE vl splat<vl>(int64_t x) {
  vl8 h{x, x, x, x, x, x, x, x};
  return {h, h};
}
KW_INLINE vi splat_mask(bool x) { return splat<vi>(x ? -1 : 0); }
KW_INLINE vi iota() { return vi{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
KW_INLINE vl iota_l() { return {vl8{0, 1, 2, 3, 4, 5, 6, 7}, vl8{8, 9, 10, 11, 12, 13, 14, 15}}; }

// GCC takes comparisons, choices and conversions of vectors wider than a register apart, lane by lane; half by half it does
// what the machine can. Halves are copied: a shuffle of wide vectors is taken apart as well.
#if !defined(__clang__) && !defined(__AVX512F__)
#define KW_BY_HALVES 1
template <class H, class V>
KW_INLINE H half_of(const V& a, int which) {
  H halves[2];
  __builtin_memcpy(halves, &a, sizeof halves);
  return halves[which];
}
template <class V, class H>
KW_INLINE V of_halves(H lo, H hi) {
  H halves[2] = {lo, hi};
  V r;
  __builtin_memcpy(&r, halves, sizeof r);
  return r;
}
KW_INLINE vi8 low(vi a) { return half_of<vi8>(a, 0); }
KW_INLINE vi8 high(vi a) { return half_of<vi8>(a, 1); }
KW_INLINE vf8 low(vf a) { return half_of<vf8>(a, 0); }
KW_INLINE vf8 high(vf a) { return half_of<vf8>(a, 1); }
KW_INLINE vi join(vi8 a, vi8 b) { return of_halves<vi>(a, b); }
KW_INLINE vf join(vf8 a, vf8 b) { return of_halves<vf>(a, b); }
#define KW_EACH_HALF(A, OP, B) join(low(A) OP low(B), high(A) OP high(B))
#else
#define KW_EACH_HALF(A, OP, B) A OP B
KW_INLINE vi8 low(vi a) { return __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7); }
KW_INLINE vi8 high(vi a) { return __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15); }
KW_INLINE vf8 low(vf a) { return __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7); }
KW_INLINE vf8 high(vf a) { return __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15); }
KW_INLINE vi join(vi8 a, vi8 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
KW_INLINE vf join(vf8 a, vf8 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
#endif
KW_INLINE vi first(int n) { return KW_EACH_HALF(iota(), <, splat<vi>(n)); }  // mask of the first n lanes
KW_INLINE vi narrow(vl8 a, vl8 b) { return join(__builtin_convertvector(a, vi8), __builtin_convertvector(b, vi8)); }
KW_INLINE vl8 low_l(vi a) { return __builtin_convertvector(low(a), vl8); }
KW_INLINE vl8 high_l(vi a) { return __builtin_convertvector(high(a), vl8); }

// ── arithmetic of the pairs ────────────────────────────────────────────────────────────────────────────────────────
#define KW_PAIR(V, S, OP)                                                              \
  KW_INLINE V operator OP(V a, V b) { return {a.lo OP b.lo, a.hi OP b.hi}; }           \
  KW_INLINE V operator OP(V a, S b) { return a OP splat<V>(b); }                       \
  KW_INLINE V operator OP(S a, V b) { return splat<V>(a) OP b; }
KW_PAIR(vd, double, +)
KW_PAIR(vd, double, -)
KW_PAIR(vd, double, *)
KW_PAIR(vd, double, /)
KW_PAIR(vl, int64_t, +)
KW_PAIR(vl, int64_t, -)
KW_PAIR(vl, int64_t, *)
KW_PAIR(vl, int64_t, &)
KW_PAIR(vl, int64_t, |)
KW_PAIR(vl, int64_t, ^)
KW_PAIR(vl, int64_t, <<)
KW_PAIR(vl, int64_t, >>)
#undef KW_PAIR
KW_INLINE vd operator-(vd a) { return {-a.lo, -a.hi}; }
KW_INLINE vl operator-(vl a) { return {-a.lo, -a.hi}; }
KW_INLINE vl operator~(vl a) { return {~a.lo, ~a.hi}; }
KW_INLINE vl operator/(vl a, vl b) { return {a.lo / b.lo, a.hi / b.hi}; }
KW_INLINE vl operator%(vl a, vl b) { return {a.lo % b.lo, a.hi % b.hi}; }

// ── comparisons and selection ──────────────────────────────────────────────────────────────────────────────────────
#define KW_COMPARE(NAME, OP)                                             \
  KW_INLINE vi NAME(vf a, vf b) { return KW_EACH_HALF(a, OP, b); }       \
  KW_INLINE vi NAME(vi a, vi b) { return KW_EACH_HALF(a, OP, b); }       \
  KW_INLINE vi NAME(vd a, vd b) { return narrow(a.lo OP b.lo, a.hi OP b.hi); } \
  KW_INLINE vi NAME(vl a, vl b) { return narrow(a.lo OP b.lo, a.hi OP b.hi); } \
  KW_INLINE bool NAME(float a, float b) { return a OP b; }               \
  KW_INLINE bool NAME(double a, double b) { return a OP b; }             \
  KW_INLINE bool NAME(int32_t a, int32_t b) { return a OP b; }           \
  KW_INLINE bool NAME(int64_t a, int64_t b) { return a OP b; }           \
  KW_INLINE bool NAME(bool a, bool b) { return a OP b; }
KW_COMPARE(eq, ==)
KW_COMPARE(ne, !=)
KW_COMPARE(lt, <)
KW_COMPARE(le, <=)
KW_COMPARE(gt, >)
KW_COMPARE(ge, >=)
#undef KW_COMPARE

#ifdef KW_BY_HALVES
KW_INLINE vf select(vi m, vf a, vf b) { return join(low(m) ? low(a) : low(b), high(m) ? high(a) : high(b)); }
KW_INLINE vi select(vi m, vi a, vi b) { return join(low(m) ? low(a) : low(b), high(m) ? high(a) : high(b)); }
#else
KW_INLINE vf select(vi m, vf a, vf b) { return m ? a : b; }
KW_INLINE vi select(vi m, vi a, vi b) { return m ? a : b; }
#endif
KW_INLINE vd select(vi m, vd a, vd b) { return {low_l(m) ? a.lo : b.lo, high_l(m) ? a.hi : b.hi}; }
KW_INLINE vl select(vi m, vl a, vl b) { return {low_l(m) ? a.lo : b.lo, high_l(m) ? a.hi : b.hi}; }
template <class S>
KW_INLINE S select(bool m, S a, S b) {
  return m ? a : b;
}
// One bit per lane.
KW_INLINE unsigned short bits(vi m) {
#if defined(__clang__)
  typedef bool b16 __attribute__((ext_vector_type(16)));
  return __builtin_bit_cast(unsigned short, __builtin_convertvector(m, b16));
#elif defined(__AVX512F__)
  return static_cast<unsigned short>(__builtin_ia32_ptestmd512(m, m, -1));
#elif defined(__AVX__)
  unsigned r = static_cast<unsigned>(__builtin_ia32_movmskps256((vf8)low(m)));
  r |= static_cast<unsigned>(__builtin_ia32_movmskps256((vf8)high(m))) << 8;
  return static_cast<unsigned short>(r);
#else
  unsigned r = 0;
  for (int k = 0; k < W; ++k) r |= (m[k] ? 1u : 0u) << k;
  return static_cast<unsigned short>(r);
#endif
}
KW_INLINE bool any(vi m) { return bits(m) != 0; }
KW_INLINE bool all(vi m) { return !any(~m); }
KW_INLINE bool any(bool m) { return m; }
KW_INLINE bool all(bool m) { return m; }

// Integer arithmetic wraps, as torch's does; signed overflow in C++ is undefined.
#define KW_WRAPPING(NAME, OP)                                                                                   \
  KW_INLINE int32_t NAME(int32_t a, int32_t b) { return int32_t(uint32_t(a) OP uint32_t(b)); }                  \
  KW_INLINE int64_t NAME(int64_t a, int64_t b) { return int64_t(uint64_t(a) OP uint64_t(b)); }                  \
  KW_INLINE vi NAME(vi a, vi b) { return (vi)((vu)a OP(vu) b); }                                                \
  KW_INLINE vl NAME(vl a, vl b) {                                                                               \
    return {(vl8)((vul8)a.lo OP(vul8) b.lo), (vl8)((vul8)a.hi OP(vul8) b.hi)};                                  \
  }
KW_WRAPPING(add, +)
KW_WRAPPING(sub, -)
KW_WRAPPING(mul, *)
#undef KW_WRAPPING

// ── conversions ────────────────────────────────────────────────────────────────────────────────────────────────────
// to<V>(x): x as the lane type of V. Floating to integer truncates.
template <class To>
struct Into;
template <>
struct Into<vf> {
  static KW_INLINE vf of(vf x) { return x; }
#ifdef KW_BY_HALVES
  static KW_INLINE vf of(vi x) { return join(__builtin_convertvector(low(x), vf8), __builtin_convertvector(high(x), vf8)); }
#else
  static KW_INLINE vf of(vi x) { return __builtin_convertvector(x, vf); }
#endif
  static KW_INLINE vf of(vd x) { return join(__builtin_convertvector(x.lo, vf8), __builtin_convertvector(x.hi, vf8)); }
  static KW_INLINE vf of(vl x) { return join(__builtin_convertvector(x.lo, vf8), __builtin_convertvector(x.hi, vf8)); }
};
template <>
struct Into<vd> {
  static KW_INLINE vd of(vd x) { return x; }
  static KW_INLINE vd of(vf x) { return {__builtin_convertvector(low(x), vd8), __builtin_convertvector(high(x), vd8)}; }
  static KW_INLINE vd of(vi x) { return {__builtin_convertvector(low(x), vd8), __builtin_convertvector(high(x), vd8)}; }
  static KW_INLINE vd of(vl x) { return {__builtin_convertvector(x.lo, vd8), __builtin_convertvector(x.hi, vd8)}; }
};
template <>
struct Into<vi> {
  static KW_INLINE vi of(vi x) { return x; }
#ifdef KW_BY_HALVES
  static KW_INLINE vi of(vf x) { return join(__builtin_convertvector(low(x), vi8), __builtin_convertvector(high(x), vi8)); }
#else
  static KW_INLINE vi of(vf x) { return __builtin_convertvector(x, vi); }
#endif
  static KW_INLINE vi of(vd x) { return narrow(__builtin_convertvector(x.lo, vl8), __builtin_convertvector(x.hi, vl8)); }
  static KW_INLINE vi of(vl x) { return narrow(x.lo, x.hi); }
};
template <>
struct Into<vl> {
  static KW_INLINE vl of(vl x) { return x; }
  static KW_INLINE vl of(vi x) { return {low_l(x), high_l(x)}; }
  static KW_INLINE vl of(vf x) { return {__builtin_convertvector(low(x), vl8), __builtin_convertvector(high(x), vl8)}; }
  static KW_INLINE vl of(vd x) { return {__builtin_convertvector(x.lo, vl8), __builtin_convertvector(x.hi, vl8)}; }
};
template <>
struct Into<float> {
  template <class S>
  static KW_INLINE float of(S x) {
    return static_cast<float>(x);
  }
};
template <>
struct Into<double> {
  template <class S>
  static KW_INLINE double of(S x) {
    return static_cast<double>(x);
  }
};
template <>
struct Into<int32_t> {
  template <class S>
  static KW_INLINE int32_t of(S x) {
    return static_cast<int32_t>(static_cast<int64_t>(x));
  }
};
template <>
struct Into<int64_t> {
  template <class S>
  static KW_INLINE int64_t of(S x) {
    return static_cast<int64_t>(x);
  }
};
template <class To, class From>
KW_INLINE To to(From x) {
  return Into<To>::of(x);
}

// A mask as numbers (0 or 1), and numbers as a mask (x != 0).
template <class V>
KW_INLINE V from_mask(vi m) {
  return Into<V>::of(m & 1);
}
template <class S>
KW_INLINE S from_mask(bool m) {
  return static_cast<S>(m);
}
KW_INLINE vi to_mask(vf x) { return x != 0.0f; }
KW_INLINE vi to_mask(vi x) { return x != 0; }
KW_INLINE vi to_mask(vd x) { return ne(x, splat<vd>(0)); }
KW_INLINE vi to_mask(vl x) { return ne(x, splat<vl>(0)); }
template <class S>
KW_INLINE bool to_mask(S x) {
  return x != 0;
}

// Narrow integers are computed in int32 and wrapped to their width.
template <class T>
KW_INLINE int32_t wrap(int32_t x) {
  return static_cast<T>(x);
}
template <class T>
KW_INLINE vi wrap(vi x) {
  constexpr int shift = 32 - 8 * static_cast<int>(sizeof(T));
  if constexpr (T(-1) < T(0)) return (x << shift) >> shift;
  else return x & static_cast<int32_t>((uint64_t(1) << (8 * sizeof(T))) - 1);
}

// ── storage: widen on load, round on store ─────────────────────────────────────────────────────────────────────────
KW_INLINE vf widen(vu16 bits, bf16) { return reinterpret_cast<vf>(__builtin_convertvector(bits, vu) << 16); }
KW_INLINE vu16 round_bf16(vf x) {
  vu u = reinterpret_cast<vu>(x);
  vu rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  vu quiet = (u >> 16) | 0x40u;
  return __builtin_convertvector((x != x) ? quiet : rounded, vu16);
}
KW_INLINE uint16_t round_bf16(float x) {
  uint32_t u = __builtin_bit_cast(uint32_t, x);
  if (x != x) return static_cast<uint16_t>((u >> 16) | 0x40u);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
KW_INLINE float widen(bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }
KW_INLINE vf widen(vu16 bits, f16) {
#ifdef __AVX512F__
  typedef short s16 __attribute__((vector_size(32)));
  return __builtin_ia32_vcvtph2ps512_mask((s16)bits, vf{}, (short)-1, 4);
#else
  vf r{};
  for (int k = 0; k < W; ++k) r[k] = static_cast<float>(__builtin_bit_cast(f16, static_cast<uint16_t>(bits[k])));
  return r;
#endif
}
KW_INLINE vu16 round_f16(vf x) {
#ifdef __AVX512F__
  typedef short s16 __attribute__((vector_size(32)));
  return (vu16)__builtin_ia32_vcvtps2ph512_mask(x, 0, s16{}, (short)-1);
#else
  vu16 r{};
  for (int k = 0; k < W; ++k) r[k] = __builtin_bit_cast(uint16_t, static_cast<f16>(x[k]));
  return r;
#endif
}
KW_INLINE float round_to_bfloat16(float x) { return widen(bf16{round_bf16(x)}); }
KW_INLINE vf round_to_bfloat16(vf x) { return widen(round_bf16(x), bf16{}); }
KW_INLINE float round_to_float16(float x) { return static_cast<float>(static_cast<f16>(x)); }
KW_INLINE vf round_to_float16(vf x) { return widen(round_f16(x), f16{}); }

// Raw<T>: sixteen stored elements as they lie in memory, and their way to and from lanes.
template <class T>
struct Raw;
#define KW_RAW(T, BITS, V, UP, DOWN)                                  \
  template <>                                                         \
  struct Raw<T> {                                                     \
    typedef BITS bits;                                                \
    typedef V vec;                                                    \
    static KW_INLINE V up(BITS raw) { return UP; }                    \
    static KW_INLINE BITS down(V x) { return DOWN; }                  \
  };
KW_RAW(float, vf, vf, raw, x)
KW_RAW(int32_t, vi, vi, raw, x)
KW_RAW(double, vd, vd, raw, x)
KW_RAW(int64_t, vl, vl, raw, x)
KW_RAW(bf16, vu16, vf, widen(raw, bf16{}), round_bf16(x))
KW_RAW(f16, vu16, vf, widen(raw, f16{}), round_f16(x))
KW_RAW(int16_t, vs16, vi, __builtin_convertvector(raw, vi), __builtin_convertvector(x, vs16))
KW_RAW(int8_t, vs8b, vi, __builtin_convertvector(__builtin_convertvector(raw, vs16), vi),
       __builtin_convertvector(__builtin_convertvector(x, vs16), vs8b))
KW_RAW(uint8_t, vu8b, vi, __builtin_convertvector(__builtin_convertvector(raw, vu16), vi),
       __builtin_convertvector(__builtin_convertvector(x, vs16), vu8b))
#undef KW_RAW

template <class T>
using vec_t = typename Raw<T>::vec;

// One element.
KW_INLINE float get(const float* p) { return *p; }
KW_INLINE double get(const double* p) { return *p; }
KW_INLINE int64_t get(const int64_t* p) { return *p; }
KW_INLINE int32_t get(const int32_t* p) { return *p; }
KW_INLINE int32_t get(const int16_t* p) { return *p; }
KW_INLINE int32_t get(const int8_t* p) { return *p; }
KW_INLINE int32_t get(const uint8_t* p) { return *p; }
KW_INLINE float get(const bf16* p) { return widen(*p); }
KW_INLINE float get(const f16* p) { return static_cast<float>(*p); }
KW_INLINE bool get_bool(const b8* p) { return *p != 0; }
template <class T, class S>
KW_INLINE void put(T* p, S x) {
  *p = static_cast<T>(x);
}
KW_INLINE void put(bf16* p, float x) { p->bits = round_bf16(x); }

// Sixteen elements.
template <class T>
KW_INLINE vec_t<T> load(const T* p) {
  typename Raw<T>::bits raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return Raw<T>::up(raw);
}
template <class T>
KW_INLINE void store(T* p, vec_t<T> x) {
  typename Raw<T>::bits raw = Raw<T>::down(x);
  __builtin_memcpy(p, &raw, sizeof raw);
}

// GCC and clang disagree on the pointer type of the masked builtins for narrow elements.
#ifdef __clang__
#define KW_MEM(CONST, ELEMENT, VECTOR) CONST VECTOR*
#else
#define KW_MEM(CONST, ELEMENT, VECTOR) CONST ELEMENT*
#endif

// The elements whose mask lane is set; other memory is not touched, other lanes are zero.
template <class T>
KW_INLINE vec_t<T> load_mask(const T* p, vi mask) {
#ifdef __AVX512BW__
  unsigned short m = bits(mask);
  if constexpr (sizeof(typename Raw<T>::bits) == 64) {
    return (vec_t<T>)__builtin_ia32_loadups512_mask(reinterpret_cast<const float*>(p), vf{}, m);
  } else if constexpr (sizeof(T) == 8) {
    typename Raw<T>::bits raw;
    auto* d = reinterpret_cast<const double*>(p);
    vd r{__builtin_ia32_loadupd512_mask(d, vd8{}, static_cast<unsigned char>(m)),
         __builtin_ia32_loadupd512_mask(d + 8, vd8{}, static_cast<unsigned char>(m >> 8))};
    __builtin_memcpy(&raw, &r, sizeof raw);
    return raw;
  } else if constexpr (sizeof(T) == 2) {
    typedef short s16 __attribute__((vector_size(32)));
    return Raw<T>::up((typename Raw<T>::bits)__builtin_ia32_loaddquhi256_mask((KW_MEM(const, short, s16))p, s16{}, m));
  } else {
    typedef char c16 __attribute__((vector_size(16)));
    return Raw<T>::up((typename Raw<T>::bits)__builtin_ia32_loaddquqi128_mask((KW_MEM(const, char, c16))p, c16{}, m));
  }
#else
#if defined(__AVX2__) && defined(KW_BY_HALVES)
  if constexpr (sizeof(typename Raw<T>::bits) == 64) {
    auto* d = reinterpret_cast<const vf8*>(p);
    vf raw = join(__builtin_ia32_maskloadps256(d, low(mask)), __builtin_ia32_maskloadps256(d + 1, high(mask)));
    return Raw<T>::up((typename Raw<T>::bits)raw);
  }
#endif
  T buffer[W] = {};
  for (int k = 0; k < W; ++k)
    if (mask[k]) buffer[k] = p[k];
  return load(buffer);
#endif
}
template <class T>
KW_INLINE void store_mask(T* p, vec_t<T> x, vi mask) {
#ifdef __AVX512BW__
  unsigned short m = bits(mask);
  if constexpr (sizeof(typename Raw<T>::bits) == 64) {
    __builtin_ia32_storeups512_mask(reinterpret_cast<float*>(p), (vf)x, m);
  } else if constexpr (sizeof(T) == 8) {
    vd raw;
    __builtin_memcpy(&raw, &x, sizeof raw);
    auto* d = reinterpret_cast<double*>(p);
    __builtin_ia32_storeupd512_mask(d, raw.lo, static_cast<unsigned char>(m));
    __builtin_ia32_storeupd512_mask(d + 8, raw.hi, static_cast<unsigned char>(m >> 8));
  } else if constexpr (sizeof(T) == 2) {
    typedef short s16 __attribute__((vector_size(32)));
    __builtin_ia32_storedquhi256_mask((KW_MEM(, short, s16))p, (s16)Raw<T>::down(x), m);
  } else {
    typedef char c16 __attribute__((vector_size(16)));
    __builtin_ia32_storedquqi128_mask((KW_MEM(, char, c16))p, (c16)Raw<T>::down(x), m);
  }
#else
#if defined(__AVX2__) && defined(KW_BY_HALVES)
  if constexpr (sizeof(typename Raw<T>::bits) == 64) {
    auto* d = reinterpret_cast<vf8*>(p);
    vf raw = (vf)Raw<T>::down(x);
    __builtin_ia32_maskstoreps256(d, low(mask), low(raw));
    __builtin_ia32_maskstoreps256(d + 1, high(mask), high(raw));
    return;
  }
#endif
  T buffer[W];
  store(buffer, x);
  for (int k = 0; k < W; ++k)
    if (mask[k]) p[k] = buffer[k];
#endif
}

// The first n of sixteen. With a literal n of 16 (after inlining) this is the plain access.
template <class T>
KW_INLINE vec_t<T> load(const T* p, int n) {
  if (__builtin_constant_p(n) && n == W) return load(p);
  return load_mask(p, first(n));
}
template <class T>
KW_INLINE void store(T* p, vec_t<T> x, int n) {
  if (__builtin_constant_p(n) && n == W) store(p, x);
  else store_mask(p, x, first(n));
}
KW_INLINE vi load_bool(const b8* p, int n = W) { return load(p, n) != 0; }
KW_INLINE void store_bool(b8* p, vi mask, int n = W) { store(p, mask & 1, n); }
KW_INLINE vi load_bool_mask(const b8* p, vi mask) { return load_mask(p, mask) != 0; }

// The first n of sixteen elements that lie one before the other: lane k is p[-k].
KW_INLINE vf reversed(vf v) { return __builtin_shufflevector(v, v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
KW_INLINE vi reversed(vi v) { return __builtin_shufflevector(v, v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
KW_INLINE vd8 reversed(vd8 v) { return __builtin_shufflevector(v, v, 7, 6, 5, 4, 3, 2, 1, 0); }
KW_INLINE vl8 reversed(vl8 v) { return __builtin_shufflevector(v, v, 7, 6, 5, 4, 3, 2, 1, 0); }
KW_INLINE vd reversed(vd v) { return {reversed(v.hi), reversed(v.lo)}; }
KW_INLINE vl reversed(vl v) { return {reversed(v.hi), reversed(v.lo)}; }
template <class T>
KW_INLINE vec_t<T> load_reversed(const T* p, int n = W) {
  if (__builtin_constant_p(n) && n == W) return reversed(load(p - (W - 1)));
  return reversed(load_mask(p - (W - 1), iota() >= W - n));
}
KW_INLINE vi load_bool_reversed(const b8* p, int n = W) { return load_reversed(p, n) != 0; }

// Elements `stride` apart (stride may be 0 or negative).
template <class T>
KW_INLINE vec_t<T> gather(const T* p, int64_t stride, int n = W) {
  if constexpr (sizeof(T) == 4) {
    if (__builtin_constant_p(stride) && stride == 2) {
      // Two loads and a shuffle; the last element read is the last one asked for.
      vec_t<T> a = load(p, min(W, 2 * n - 1)), b = load(p + 15, max(0, 2 * n - 16));
      return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    }
  }
  T buffer[W] = {};
#pragma GCC unroll 16
  for (int k = 0; k < W; ++k)
    if (k < n) buffer[k] = p[k * stride];
  return load(buffer);
}
template <class T>
KW_INLINE vec_t<T> gather_mask(const T* p, int64_t stride, vi mask) {
  if constexpr (sizeof(T) == 4) {
    if (__builtin_constant_p(stride) && stride == 2) {  // as above, each half under its lanes' mask
      constexpr vi none{};
      vi even = __builtin_shufflevector(mask, none, 0, 16, 1, 16, 2, 16, 3, 16, 4, 16, 5, 16, 6, 16, 7, 16);
      vi odd = __builtin_shufflevector(mask, none, 16, 8, 16, 9, 16, 10, 16, 11, 16, 12, 16, 13, 16, 14, 16, 15);
      vec_t<T> a = load_mask(p, even), b = load_mask(p + 15, odd);
      return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    }
  }
  T buffer[W] = {};
  for (int k = 0; k < W; ++k)
    if (mask[k]) buffer[k] = p[k * stride];
  return load(buffer);
}
template <class T>
KW_INLINE void scatter(T* p, vec_t<T> x, int64_t stride, int n = W) {
  T buffer[W];
  store(buffer, x);
  for (int k = 0; k < n; ++k) p[k * stride] = buffer[k];
}
KW_INLINE vi gather_bool(const b8* p, int64_t stride, int n = W) { return gather(p, stride, n) != 0; }
KW_INLINE vi gather_bool_mask(const b8* p, int64_t stride, vi mask) { return gather_mask(p, stride, mask) != 0; }
KW_INLINE void scatter_bool(b8* p, vi mask, int64_t stride, int n = W) { scatter(p, mask & 1, stride, n); }

// Lane k is v[(k + F) / D], F < D: every element D times, the first one F times less.
#define KW_SPREAD(v, w, k) __builtin_shufflevector(v, w, (k + F) / D, (k + 1 + F) / D, (k + 2 + F) / D, (k + 3 + F) / D, \
                                                   (k + 4 + F) / D, (k + 5 + F) / D, (k + 6 + F) / D, (k + 7 + F) / D)
template <int D, int F, class V>
KW_INLINE V spread(V v) {
  if constexpr (sizeof(V) == 128) return {KW_SPREAD(v.lo, v.hi, 0), KW_SPREAD(v.lo, v.hi, 8)};
  else return join(KW_SPREAD(v, v, 0), KW_SPREAD(v, v, 8));
}
#undef KW_SPREAD
template <int D, class V, int F = 0>
KW_INLINE V spread(V v, int from) {
  if constexpr (F == D - 1) return spread<D, F>(v);
  else return from == F ? spread<D, F>(v) : spread<D, V, F + 1>(v, from);
}
// The first n of sixteen lanes, each element of memory D times: lane k is p[(k + from) / D]; with a range, `fill` where
// that is not inside [low, high).
template <int D, class T>
KW_INLINE vec_t<T> repeat(const T* p, int from, int n = W) {
  return spread<D>(load(p, (n - 1 + from) / D + 1), from);
}
template <int D, class T>
KW_INLINE vec_t<T> repeat(const T* p, int from, int n, int64_t low, int64_t high, lane_t<vec_t<T>> fill) {
  high = min<int64_t>(high, (n - 1 + from) / D + 1);
  vi mask = iota() >= static_cast<int>(max<int64_t>(low, 0)) & iota() < static_cast<int>(max<int64_t>(high, 0));
  return spread<D>(select(mask, load_mask(p, mask), splat<vec_t<T>>(fill)), from);
}

// Lane by lane: v[k] = fn(start + k) for the first n lanes; for accesses no vector instruction describes.
template <class V, class F>
KW_INLINE V lanes(int64_t start, int n, const F& fn) {
  lane_t<V> buffer[W] = {};
  for (int k = 0; k < n; ++k) buffer[k] = fn(start + k);
  return load(buffer);
}
template <class F>
KW_INLINE vi lanes_mask(int64_t start, int n, const F& fn) {
  int32_t buffer[W] = {};
  for (int k = 0; k < n; ++k) buffer[k] = fn(start + k) ? -1 : 0;
  return load(buffer);
}

// Lane by lane with the lane's number: for scattered writes.
template <class F>
KW_INLINE void each_lane(int64_t start, int n, const F& fn) {
  for (int k = 0; k < n; ++k) fn(start + k, k);
}
// 0 <= index < size, per lane.
KW_INLINE vi inside(vi index, int32_t size) { return (index >= 0) & (index < size); }

// Sixteen vectors as the columns of a matrix: to[k][lane] = from[lane * stride + k] for lanes < rows and k < columns.
KW_INLINE void transpose16(vf* m) {
#define KW_SHUFFLE(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#pragma GCC unroll 16
  for (int k = 0; k < 16; k += 2) {  // pairs of single lanes
    vf a = m[k], b = m[k + 1];
    m[k] = KW_SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    m[k + 1] = KW_SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
#pragma GCC unroll 16
  for (int k = 0; k < 16; k += (k & 1) ? 3 : 1) {  // pairs of lanes
    vf a = m[k], b = m[k + 2];
    m[k] = KW_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
    m[k + 2] = KW_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
#pragma GCC unroll 16
  for (int k = 0; k < 16; k += (k & 3) == 3 ? 5 : 1) {  // quarters
    vf a = m[k], b = m[k + 4];
    m[k] = KW_SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    m[k + 4] = KW_SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
#pragma GCC unroll 16
  for (int k = 0; k < 8; ++k) {  // halves
    vf a = m[k], b = m[k + 8];
    m[k] = KW_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    m[k + 8] = KW_SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
#undef KW_SHUFFLE
}
template <class T>
KW_INLINE void transpose(vec_t<T>* to, const T* from, int64_t stride, int rows, int columns) {
  static_assert(sizeof(vec_t<T>) == 64, "lanes of four bytes");
  vf m[W];
#pragma GCC unroll 16
  for (int k = 0; k < W; ++k) m[k] = k < rows ? (vf)load(from + k * stride, columns) : vf{};
  transpose16(m);
#pragma GCC unroll 16
  for (int k = 0; k < W; ++k) to[k] = (vec_t<T>)m[k];
}

// ── across lanes ───────────────────────────────────────────────────────────────────────────────────────────────────
// NaN-propagating, as torch.maximum and torch.minimum.
KW_INLINE vf maximum(vf a, vf b) { return select(gt(a, b) | ne(a, a), a, b); }
KW_INLINE vf minimum(vf a, vf b) { return select(lt(a, b) | ne(a, a), a, b); }
KW_INLINE vi maximum(vi a, vi b) { return select(gt(a, b), a, b); }
KW_INLINE vi minimum(vi a, vi b) { return select(lt(a, b), a, b); }
KW_INLINE vd maximum(vd a, vd b) {
  return {((a.lo > b.lo) | (a.lo != a.lo)) ? a.lo : b.lo, ((a.hi > b.hi) | (a.hi != a.hi)) ? a.hi : b.hi};
}
KW_INLINE vd minimum(vd a, vd b) {
  return {((a.lo < b.lo) | (a.lo != a.lo)) ? a.lo : b.lo, ((a.hi < b.hi) | (a.hi != a.hi)) ? a.hi : b.hi};
}
KW_INLINE vl maximum(vl a, vl b) { return {a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi}; }
KW_INLINE vl minimum(vl a, vl b) { return {a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi}; }
#define KW_SCALAR_MINMAX(S)                                                    \
  KW_INLINE S maximum(S a, S b) { return (a > b || a != a) ? a : b; }          \
  KW_INLINE S minimum(S a, S b) { return (a < b || a != a) ? a : b; }
KW_SCALAR_MINMAX(float)
KW_SCALAR_MINMAX(double)
KW_SCALAR_MINMAX(int32_t)
KW_SCALAR_MINMAX(int64_t)
#undef KW_SCALAR_MINMAX

#define KW_FOLD(NAME, COMBINE)                                                                        \
  KW_INLINE float NAME(vf v) {                                                                        \
    auto f = [](auto a, auto b) __attribute__((always_inline)) { return COMBINE; };                   \
    v = f(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));    \
    v = f(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));    \
    v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));    \
    v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));    \
    return v[0];                                                                                      \
  }                                                                                                   \
  KW_INLINE int32_t NAME(vi v) {                                                                      \
    auto f = [](auto a, auto b) __attribute__((always_inline)) { return COMBINE; };                   \
    v = f(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));    \
    v = f(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));    \
    v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));    \
    v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));    \
    return v[0];                                                                                      \
  }                                                                                                   \
  KW_INLINE double NAME(vd v) {                                                                       \
    auto f = [](auto a, auto b) __attribute__((always_inline)) { return COMBINE; };                   \
    double r = v[0];                                                                                  \
    for (int k = 1; k < W; ++k) r = f(r, v[k]);                                                       \
    return r;                                                                                         \
  }                                                                                                   \
  KW_INLINE int64_t NAME(vl v) {                                                                      \
    auto f = [](auto a, auto b) __attribute__((always_inline)) { return COMBINE; };                   \
    int64_t r = v[0];                                                                                 \
    for (int k = 1; k < W; ++k) r = f(r, v[k]);                                                       \
    return r;                                                                                         \
  }
KW_FOLD(hsum, a + b)
KW_FOLD(hprod, a* b)
KW_FOLD(hmax, maximum(a, b))
KW_FOLD(hmin, minimum(a, b))
#undef KW_FOLD
// Sum of float lanes without losing the low bits of a long sum.
KW_INLINE double hsum_d(vf v) {
  vd8 s = __builtin_convertvector(low(v), vd8) + __builtin_convertvector(high(v), vd8);
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────────────────────────
// Non-temporal store of a full, 64-byte aligned vector: for outputs larger than the last cache.
template <class T>
KW_INLINE void stream(T* p, vec_t<T> x) {
  typename Raw<T>::bits raw = Raw<T>::down(x);
#if defined(__clang__)
  if constexpr (sizeof raw == 64 || sizeof raw == 32) {
    __builtin_nontemporal_store(raw, reinterpret_cast<decltype(raw)*>(p));
    return;
  }
#elif defined(__AVX512F__)
  typedef long long q8 __attribute__((vector_size(64)));
  if constexpr (sizeof raw == 64) {
    __builtin_ia32_movntdq512(reinterpret_cast<q8*>(p), (q8)raw);
    return;
  }
  typedef long long q4 __attribute__((vector_size(32)));
  if constexpr (sizeof raw == 32) {
    __builtin_ia32_movntdq256(reinterpret_cast<q4*>(p), (q4)raw);
    return;
  }
#endif
  __builtin_memcpy(p, &raw, sizeof raw);
}
template <class T>
KW_INLINE void stream(T* p, vec_t<T> x, int n) {
  constexpr uint64_t unit = sizeof(typename Raw<T>::bits) - 1;
  if (__builtin_constant_p(n) && n == W && !(reinterpret_cast<uint64_t>(p) & unit)) stream(p, x);
  else store(p, x, n);
}
// Elements before the next place where stream() can begin: fewer than sixteen.
template <class T>
KW_INLINE int64_t lead(const T* p) {
  constexpr uint64_t unit = sizeof(typename Raw<T>::bits);
  return static_cast<int64_t>((unit - reinterpret_cast<uint64_t>(p) % unit) % unit / sizeof(T));
}
KW_INLINE void stream_fence() {
#ifdef __SSE__
  __builtin_ia32_sfence();
#endif
}
// Asks for 2 MiB pages in the aligned interior: a fresh large output otherwise spends its time in 4 KiB page faults.
KW_INLINE void advise_huge(void* p, int64_t bytes) {
#ifdef __linux__
  constexpr uint64_t huge = uint64_t(1) << 21;
  uint64_t begin = (reinterpret_cast<uint64_t>(p) + huge - 1) & ~(huge - 1);
  uint64_t end = (reinterpret_cast<uint64_t>(p) + static_cast<uint64_t>(bytes)) & ~(huge - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, 14 /* MADV_HUGEPAGE */);
#endif
}

// Splits n items over threads, at least `least` of them each: waking a thread costs microseconds.
template <class F>
KW_INLINE void parallel_items(int64_t n, int64_t least, const F& body) {
  if (n <= 0) return;
  int threads = static_cast<int>(min<int64_t>(max_threads(), max<int64_t>(1, n / least)));
  parallel(threads, [&](int thread, int count) { body(n * thread / count, n * (thread + 1) / count); });
}

}  // namespace kw
