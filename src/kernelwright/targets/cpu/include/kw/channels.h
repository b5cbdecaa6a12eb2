// Direct depthwise convolution with sixteen channels as lanes: for tensors whose channels are contiguous, and for planes so
// small that transposing them costs less than half-empty vectors.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace channels {

// acc[q] += sum over the window at column q of x[..][16] * w[tap][16]; tap rows [s0, s1) only. Steps are in elements.
template <int COLUMNS, int Q>
KW_ONCE void window(float* tile, const float* x, int64_t row_step, int64_t tap_step, int64_t column_step, const float* w,
                    int64_t s0, int64_t s1) {
  vf acc[Q];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) acc[q] = load(tile + q * 16);
  for (int64_t s = s0; s < s1; ++s) {
    const float *p = x + s * row_step, *v = w + s * COLUMNS * 16;
#pragma GCC unroll 1
    for (int t = 0; t < COLUMNS; ++t, p += tap_step, v += 16) {
      vf weight = load(v);
      const float* at = p;
#pragma GCC unroll 16
      for (int q = 0; q < Q; ++q, at += column_step) acc[q] += load(at) * weight;
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) store(tile + q * 16, acc[q]);
}

// A padded plane [row][column][16] of `width` channels whose offsets are `lane`. Coordinates of the window begin at
// start[2] and the tensor has size[2]; what lies outside the tensor is zero already.
template <class S>
KW_INLINE void plane(float* to, gemm::Source<S> source, const int64_t* lane, int width, const int64_t* extent,
                     const int64_t* start, const int64_t* size, const int64_t* stride) {
  int64_t from = max<int64_t>(0, -start[1]), end = min(extent[1], size[1] - start[1]);
  for (int64_t r = 0; r < extent[0]; ++r) {
    int64_t y = r + start[0];
    if (uint64_t(y) >= uint64_t(size[0])) continue;
    for (int64_t c = from; c < end; c += 64) {
      int64_t count = min<int64_t>(64, end - c), step[64];
      for (int64_t i = 0; i < count; ++i) step[i] = y * stride[0] + (c + i + start[1]) * stride[1];
      gemm::pack_group<false>(to + (r * extent[1] + c) * 16, 16, 16, width, source, lane, step, count);
    }
  }
}

// Results [points][16] to [16][pitch].
KW_INLINE void turn(float* to, int64_t pitch, const float* from, int64_t points) {
  for (int64_t i = 0; i < points; i += 16) {
    vf rows[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = load(from + (i + r) * 16);
    gemm::transpose(rows);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) store(to + r * pitch + i, rows[r]);
  }
}

}  // namespace channels
}  // namespace kw
