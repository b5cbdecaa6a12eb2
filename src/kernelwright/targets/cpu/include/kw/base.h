// Types, storage formats and threads shared by every generated kernel. No standard library beyond <stdint.h>:
// a kernel must compile in a fraction of a second.
#pragma once
#include <stdint.h>

#define KW_INLINE inline __attribute__((always_inline))
#define KW_RESTRICT __restrict__

namespace kw {

struct bf16 {
  uint16_t bits;
};
typedef _Float16 f16;
typedef uint8_t b8;  // storage of bool: 0 or 1

template <class T>
KW_INLINE T min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
KW_INLINE T max(T a, T b) {
  return a > b ? a : b;
}
KW_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
KW_INLINE int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}
KW_INLINE int64_t floor_mod(int64_t a, int64_t b) {
  int64_t r = a % b;
  return r + ((r != 0 && ((r < 0) != (b < 0))) ? b : 0);
}

}  // namespace kw

// ── threads ────────────────────────────────────────────────────────────────────────────────────────────────────────
// One pool per process: the OpenMP runtime that torch has already loaded (its symbols are global once torch is
// imported). A second pool would oversubscribe the cores. Calling its entry points directly needs no -fopenmp, so any
// compiler will do, and omp_get_max_threads() follows torch.set_num_threads().
#ifndef KW_SERIAL
extern "C" void GOMP_parallel(void (*fn)(void*), void* data, unsigned threads, unsigned flags);
extern "C" int omp_get_thread_num(void);
extern "C" int omp_get_max_threads(void);
extern "C" int omp_in_parallel(void);
#endif

namespace kw {

KW_INLINE int max_threads() {
#ifdef KW_SERIAL
  return 1;
#else
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#endif
}

// Runs body(thread, threads) on `threads` threads and waits. body must split the work by the two numbers it receives.
template <class F>
KW_INLINE void parallel(int threads, const F& body) {
#ifndef KW_SERIAL
  if (threads > 1) {
    struct Job {
      const F* body;
      int threads;
    } job{&body, threads};
    GOMP_parallel(
        [](void* data) {
          auto* j = static_cast<Job*>(data);
          (*j->body)(omp_get_thread_num(), j->threads);
        },
        &job, static_cast<unsigned>(threads), 0);
    return;
  }
#endif
  body(0, 1);
}

// Splits [0, n) over threads in contiguous parts: body(begin, end), each part a multiple of `grain` but the last.
template <class F>
KW_INLINE void parallel_for(int64_t n, int64_t grain, const F& body) {
  if (n <= 0) return;
  int64_t blocks = ceil_div(n, grain);
  int threads = static_cast<int>(min<int64_t>(max_threads(), blocks));
  parallel(threads, [&](int thread, int count) {
    int64_t begin = blocks * thread / count * grain, end = min(n, blocks * (thread + 1) / count * grain);
    if (begin < end) body(begin, end);
  });
}

}  // namespace kw
