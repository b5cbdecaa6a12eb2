// Peak loops: what the machine can do at best, measured by code that does nothing else. Built and called by _peaks.py.
#include <stdint.h>
#include <string.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kChains = kBytes == 64 ? 24 : 12;  // enough independent chains to hide the latency of two FMA pipes

template <class T>
static double fma_loop(int64_t rounds) {
  typedef T V __attribute__((vector_size(kBytes)));
  constexpr int lanes = kBytes / sizeof(T);
  V acc[kChains];
  V a, b;
  for (int l = 0; l < lanes; ++l) a[l] = T(0.999999), b[l] = T(1e-7);
  for (int c = 0; c < kChains; ++c) acc[c] = b;
  asm volatile("" : "+m"(a), "+m"(b));
  const V va = a, vb = b;
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) acc[c] = acc[c] * va + vb;
  }
  double sum = 0;
  for (int c = 0; c < kChains; ++c)
    for (int l = 0; l < lanes; ++l) sum += acc[c][l];
  return sum;
}

extern "C" {

// Flops of one round of each loop, so that the caller need not know the lanes.
int64_t kw_flops_f32() { return int64_t(kChains) * (kBytes / 4) * 2; }
int64_t kw_flops_f64() { return int64_t(kChains) * (kBytes / 8) * 2; }
double kw_fma_f32(int64_t rounds) { return fma_loop<float>(rounds); }
double kw_fma_f64(int64_t rounds) { return fma_loop<double>(rounds); }

// bfloat16 dot products where the machine has them; 0 flops says that bf16 runs on the fp32 units.
#if defined(__AVX512BF16__)
int64_t kw_flops_bf16() { return int64_t(kChains) * 64; }
double kw_fma_bf16(int64_t rounds) {
  __m512 acc[kChains];
  __m512i raw = _mm512_set1_epi16(0x3c00);
  asm volatile("" : "+m"(raw));
  const __m512bh a = (__m512bh)raw;
  for (int c = 0; c < kChains; ++c) acc[c] = _mm512_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) acc[c] = _mm512_dpbf16_ps(acc[c], a, a);
  }
  double sum = 0;
  for (int c = 0; c < kChains; ++c) sum += _mm512_reduce_add_ps(acc[c]);
  return sum;
}
#else
int64_t kw_flops_bf16() { return 0; }
double kw_fma_bf16(int64_t) { return 0; }
#endif

// Copy n floats `times` times; the C library's memcpy streams past the caches when that is faster.
double kw_copy(float* to, const float* from, int64_t n, int64_t times) {
  for (int64_t t = 0; t < times; ++t) {
    memcpy(to, from, size_t(n) * sizeof(float));
    asm volatile("" ::: "memory");
  }
  return to[0];
}

// Read n floats `times` times (n is cut to whole blocks of eight vectors).
double kw_read(const float* from, int64_t n, int64_t times) {
  typedef float V __attribute__((vector_size(kBytes)));
  typedef float U __attribute__((vector_size(kBytes), aligned(4), may_alias));
  constexpr int lanes = kBytes / 4;
  V acc[8];
  memset(acc, 0, sizeof acc);
  for (int64_t t = 0; t < times; ++t) {
    for (int64_t i = 0; i + 8 * lanes <= n; i += 8 * lanes) {
#pragma GCC unroll 8
      for (int c = 0; c < 8; ++c) acc[c] += *reinterpret_cast<const U*>(from + i + c * lanes);
    }
    asm volatile("" ::: "memory");
  }
  double sum = 0;
  for (int c = 0; c < 8; ++c)
    for (int l = 0; l < lanes; ++l) sum += acc[c][l];
  return sum;
}

void kw_fill(float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = float(i & 1023);
}
}
