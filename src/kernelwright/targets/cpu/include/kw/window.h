// Direct depthwise convolution: lanes along the contiguous result axis, ROWS result rows at once, so that a vector of
// the (padded) input is loaded once and used for every row whose window holds it.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace window {

// SR/SC strides, DR/DC dilations of rows and columns; NV vectors wide. PAIR: rows are at most eight wide, and the upper
// half of a vector holds the row ROWS further down.
template <int KH, int KW, int SR, int SC, int DR, int DC, int ROWS, int NV, bool PAIR>
struct Window {
  static constexpr int LAST = (ROWS - 1) * SR + (KH - 1) * DR, UNROLLED = 5;

  static KW_INLINE vf read(const float* p, int64_t pitch) {
    if constexpr (PAIR) {
      const float* q = p + ROWS * SR * pitch;
      if constexpr (SC == 1) {
        vf8 a, b;
        __builtin_memcpy(&a, p, sizeof a);
        __builtin_memcpy(&b, q, sizeof b);
        return join(a, b);
      } else {
        vf a = load(p), b = load(q);
        return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      }
    }
    if constexpr (SC == 1) return load(p);
    else if constexpr (SC == 2) return gemm::every_second(load(p), load(p + 15));
    else return gather(p, SC);
  }

  // Which tap of row I the input row R is, or -1.
  static constexpr int tap(int r, int i) {
    int d = r - i * SR;
    return d >= 0 && d % DR == 0 && d / DR < KH ? d / DR : -1;
  }
  static constexpr bool used(int r) {
    for (int i = 0; i < ROWS; ++i)
      if (tap(r, i) >= 0) return true;
    return false;
  }

  // One tap of input row R for every result row whose window holds it.
  template <int R>
  static KW_INLINE void column(vf (&acc)[ROWS][NV], const float* p, int64_t pitch, const float* w) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      vf value = read(p + v * 16 * SC, pitch);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i)
        if (tap(R, i) >= 0) acc[i][v] += value * gemm::same(w[tap(R, i) * KW]);
    }
  }

  // Input row R: the taps of each are unrolled where they are few.
  template <int R>
  static KW_INLINE void row(vf (&acc)[ROWS][NV], const float* p, int64_t pitch, const float* w) {
    if constexpr (used(R) && KW <= UNROLLED) {
#pragma GCC unroll 5
      for (int j = 0; j < KW; ++j) column<R>(acc, p + j * DC, pitch, w + j);
    } else if constexpr (used(R)) {
#pragma GCC unroll 1
      for (int j = 0; j < KW; ++j) column<R>(acc, p + j * DC, pitch, w + j);
    }
  }

  // The input rows from R on. Those in the middle of a high window are in the windows of all result rows alike.
  template <int R>
  static KW_INLINE void rows(vf (&acc)[ROWS][NV], const float* x, int64_t pitch, const float* w) {
    if constexpr (SR == 1 && DR == 1 && R == ROWS - 1 && KH > ROWS) {
#pragma GCC unroll 1
      for (int r = R; r < KH; ++r) row<R>(acc, x + r * pitch, pitch, w + (r - R) * KW);
      rows<KH>(acc, x, pitch, w);
    } else if constexpr (R <= LAST) {
      row<R>(acc, x + R * pitch, pitch, w);
      rows<R + 1>(acc, x, pitch, w);
    }
  }

  // tile[ROWS or 2 * ROWS][NV * 16] = sum over `planes` of the window at x + planes[e], with weights w + e * KH * KW.
  static KW_ONCE void run(float* tile, const float* x, int64_t pitch, const float* w,
                                            const int64_t* planes, int64_t count) {
    vf acc[ROWS][NV];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[i][v] = vf{};
    for (int64_t e = 0; e < count; ++e) rows<0>(acc, x + planes[e], pitch, w + e * KH * KW);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        store(tile + (i * NV + v) * 16, acc[i][v]);
        if (PAIR) {
          vf8 upper = high(acc[i][v]);
          __builtin_memcpy(tile + (i + ROWS) * 16, &upper, sizeof upper);
        }
      }
  }
};

}  // namespace window
}  // namespace kw
