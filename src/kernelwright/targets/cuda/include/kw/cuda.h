// What kernels of the CUDA target call: half types, vectors of 16 bytes, torch's arithmetic where C++ means something
// else, and reductions among the threads that share a row. It needs no other header, so that NVRTC alone can compile it;
// emulate.h stands in for the device where the same text is compiled as C++.
#pragma once

#if defined(__CUDACC_RTC__)
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
#else
#include <stdint.h>
#endif

#define KW_DEVICE __device__ __forceinline__

namespace kw {

// ── half types: they exist in memory only, values in flight are float ──────────────────────────────────────────────
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

KW_DEVICE float to_float(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }

#if defined(KW_EMULATED)
KW_DEVICE float to_float(f16 x) { return kw_emulated::half_to_float(x.bits); }
KW_DEVICE f16 to_f16(float x) { return {kw_emulated::float_to_half(x)}; }
KW_DEVICE bf16 to_bf16(float x) { return {kw_emulated::float_to_bfloat(x)}; }
#else
KW_DEVICE float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
KW_DEVICE f16 to_f16(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
KW_DEVICE bf16 to_bf16(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
#endif

// ── vectors: several neighbours in one access ──────────────────────────────────────────────────────────────────────
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
  KW_DEVICE T& operator[](int k) { return values[k]; }
  KW_DEVICE const T& operator[](int k) const { return values[k]; }
};

template <int N, class T>
KW_DEVICE Pack<T, N> load(const T* from) {
#if defined(KW_EMULATED)
  kw_emulated::check_aligned(from, alignof(Pack<T, N>));
#endif
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <class T, int N>
KW_DEVICE void store(T* to, const Pack<T, N>& pack) {
#if defined(KW_EMULATED)
  kw_emulated::check_aligned(to, alignof(Pack<T, N>));
#endif
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// ── numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────
template <class T>
KW_DEVICE T infinity();
template <>
KW_DEVICE float infinity<float>() {
  return __int_as_float(0x7f800000);
}
template <>
KW_DEVICE double infinity<double>() {
  return __longlong_as_double(0x7ff0000000000000ll);
}
template <class T>
KW_DEVICE T nan() {
  return infinity<T>() - infinity<T>();
}

// NaN wins, as in torch.maximum and torch.minimum.
template <class T>
KW_DEVICE T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}
template <class T>
KW_DEVICE T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}
template <class T>
KW_DEVICE T absolute(T a) {
  return a < 0 ? -a : a;
}
template <class T>
KW_DEVICE T sign(T x) {
  return T(x > 0) - T(x < 0);
}
KW_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
KW_DEVICE double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

// Integer division that rounds down; a division by zero gives 0, for torch raises there.
template <class T>
KW_DEVICE bool is_minus_one(T x) {
  return x < 0 && x == T(-1);
}
template <class T>
KW_DEVICE T trunc_div(T a, T b) {
  return b == 0 ? T(0) : T(is_minus_one(b) ? 0 - a : a / b);
}
template <class T>
KW_DEVICE T trunc_mod(T a, T b) {
  return b == 0 || is_minus_one(b) ? T(0) : T(a % b);
}
template <class T>
KW_DEVICE T floor_div(T a, T b) {
  return T(trunc_div(a, b) - T(trunc_mod(a, b) != 0 && (a < 0) != (b < 0)));
}
template <class T>
KW_DEVICE T floor_mod(T a, T b) {
  const T rest = trunc_mod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? T(rest + b) : rest;
}
KW_DEVICE int64_t floor_div(int64_t a, int b) { return floor_div<int64_t>(a, b); }
KW_DEVICE int64_t floor_mod(int64_t a, int b) { return floor_mod<int64_t>(a, b); }
template <class T>
KW_DEVICE T max(T a, T b) {
  return a > b ? a : b;
}
template <class T>
KW_DEVICE T min(T a, T b) {
  return a < b ? a : b;
}

// torch.remainder and torch.floor_divide of floats: the exact remainder first, then its sign.
KW_DEVICE float exact_rest(float a, float b) { return fmodf(a, b); }
KW_DEVICE double exact_rest(double a, double b) { return fmod(a, b); }
template <class T>
KW_DEVICE T float_mod(T a, T b) {
  T rest = exact_rest(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
template <class T>
KW_DEVICE T float_floor_div(T a, T b) {
  if (b == 0) return a / b;
  T rest = exact_rest(a, b), quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return copysign(T(0), a / b);
  T down = floor(quotient);
  return quotient - down > T(0.5) ? down + 1 : down;
}

// An integer power, by squaring; a negative exponent leaves 0 of everything but 1 and -1.
template <class T>
KW_DEVICE T int_pow(T base, T exponent) {
  if (exponent < 0) return base == 1 ? T(1) : base == T(-1) ? (exponent % 2 ? T(-1) : T(1)) : T(0);
  T result = 1;
  for (; exponent; exponent >>= 1, base = T(base * base))
    if (exponent & 1) result = T(result * base);
  return result;
}
// Shifts of the width or more leave 0, or -1 of a negative number to the right, as in torch.
template <class T>
KW_DEVICE T shift_left(T a, T by) {
  return by < 0 || by >= T(8 * sizeof(T)) ? T(0) : T(uint64_t(a) << by);
}
template <class T>
KW_DEVICE T shift_right(T a, T by) {
  return by < 0 || by >= T(8 * sizeof(T)) ? T(a < 0 ? -1 : 0) : T(a >> by);
}
// log(e^a + e^b) without overflow; -infinity is its identity.
KW_DEVICE float log_add_exp(float a, float b) {
  float high = maximum(a, b), low = minimum(a, b);
  return high == low && fabsf(high) == infinity<float>() ? high : high + log1pf(expf(low - high));
}
KW_DEVICE double log_add_exp(double a, double b) {
  double high = maximum(a, b), low = minimum(a, b);
  return high == low && fabs(high) == infinity<double>() ? high : high + log1p(exp(low - high));
}

// ── reductions ─────────────────────────────────────────────────────────────────────────────────────────────────────
struct Sum {
  template <class T>
  KW_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Product {
  template <class T>
  KW_DEVICE T operator()(T a, T b) const {
    return a * b;
  }
};
struct Maximum {
  template <class T>
  KW_DEVICE T operator()(T a, T b) const {
    return maximum(a, b);
  }
};
struct Minimum {
  template <class T>
  KW_DEVICE T operator()(T a, T b) const {
    return minimum(a, b);
  }
};
struct LogAddExp {
  template <class T>
  KW_DEVICE T operator()(T a, T b) const {
    return log_add_exp(a, b);
  }
};

// A value and its place. The better one wins, NaN before all; of equals the first one. No place is the last.
constexpr int64_t NOWHERE = 0x7fffffffffffffffll;
template <class T>
struct Best {
  T value;
  int64_t place;
};
template <class T>
KW_DEVICE bool is_nan(T x) {
  return x != x;
}
struct Larger {
  template <class T>
  KW_DEVICE Best<T> operator()(Best<T> a, Best<T> b) const {
    if (a.place == NOWHERE || b.place == NOWHERE) return a.place == NOWHERE ? b : a;
    if (is_nan(a.value) != is_nan(b.value)) return is_nan(a.value) ? a : b;
    if (a.value > b.value || b.value > a.value) return a.value > b.value ? a : b;
    return a.place < b.place ? a : b;
  }
};
struct Smaller {
  template <class T>
  KW_DEVICE Best<T> operator()(Best<T> a, Best<T> b) const {
    if (a.place == NOWHERE || b.place == NOWHERE) return a.place == NOWHERE ? b : a;
    if (is_nan(a.value) != is_nan(b.value)) return is_nan(a.value) ? a : b;
    if (a.value < b.value || b.value < a.value) return a.value < b.value ? a : b;
    return a.place < b.place ? a : b;
  }
};

constexpr unsigned ALL_LANES = 0xffffffffu;
template <class T>
KW_DEVICE T from_lane_across(T value, int step) {
  return __shfl_xor_sync(ALL_LANES, value, step);
}
template <class T>
KW_DEVICE Best<T> from_lane_across(Best<T> best, int step) {
  return {from_lane_across(best.value, step), from_lane_across(best.place, step)};
}
template <class T>
KW_DEVICE T from_lane_below(T value, int step) {
  return __shfl_up_sync(ALL_LANES, value, step);
}

// The value of LANES neighbouring lanes of a warp, in each of them.
template <int LANES, class T, class Op>
KW_DEVICE T warp_reduce(T value, Op op) {
#pragma unroll
  for (int step = LANES / 2; step > 0; step /= 2) value = op(value, from_lane_across(value, step));
  return value;
}

// The value of a block of THREADS in a row, in each of them; `shared` has room for one of each warp.
template <int THREADS, class T, class Op>
KW_DEVICE T block_reduce(T value, Op op, T* shared) {
  value = warp_reduce<32>(value, op);
  __syncthreads();  // whoever still reads what is shared
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_reduce<THREADS / 32>(shared[threadIdx.x % (THREADS / 32)], op);
}

// The value of each column of a block of COLUMNS x LANES threads, in each of its threads; `shared` has room for all.
template <int COLUMNS, int LANES, class T, class Op>
KW_DEVICE T column_reduce(T value, Op op, T* shared) {
  __syncthreads();
  shared[threadIdx.y * COLUMNS + threadIdx.x] = value;
  __syncthreads();
  value = shared[threadIdx.x];
#pragma unroll
  for (int lane = 1; lane < LANES; ++lane) value = op(value, shared[lane * COLUMNS + threadIdx.x]);
  return value;
}

// What each thread of a block gets from all up to itself; `shared` has room for one of each warp, and keeps the
// combination of whole warps: the last one is the block's.
template <int THREADS, class T, class Op>
KW_DEVICE T block_scan(T value, Op op, T* shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const T before = from_lane_below(value, step);
    if (lane >= step) value = op(before, value);
  }
  __syncthreads();
  if (lane == 31) shared[warp] = value;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int k = 1; k < THREADS / 32; ++k) shared[k] = op(shared[k - 1], shared[k]);
  __syncthreads();
  return warp == 0 ? value : op(shared[warp - 1], value);
}

}  // namespace kw
