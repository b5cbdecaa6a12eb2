// Direct depthwise convolution with sixteen channels as lanes: for tensors whose channels are contiguous, and for planes so
// small that transposing them costs less than half-empty vectors.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace channels {

// tile[q] = sum over the window at column q of x[..][16] * w[tap][16]; tap rows [s0, s1) and tap columns [t0, t1) only, of
// COLUMNS. Steps are in elements.
template <int COLUMNS, int Q, class S>
KW_ONCE void window(float* tile, const S* x, int64_t row_step, int64_t tap_step, int64_t column_step, const float* w,
                    int64_t s0, int64_t s1, int64_t t0 = 0, int64_t t1 = COLUMNS) {
  vf acc[Q];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) acc[q] = vf{};
  for (int64_t s = s0; s < s1; ++s) {
    const S* p = x + s * row_step + t0 * tap_step;
    const float* v = w + (s * COLUMNS + t0) * 16;
#pragma GCC unroll 1
    for (int64_t t = t0; t < t1; ++t, p += tap_step, v += 16) {
      vf weight = load(v);
      const S* at = p;
#pragma GCC unroll 16
      for (int q = 0; q < Q; ++q, at += column_step) acc[q] += load(at) * weight;
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) store(tile + q * 16, acc[q]);
}

// The taps [low, high) of `taps` whose input is inside, where tap 0 is at `first`.
struct Inside {
  int64_t low, high;
  KW_INLINE Inside(int64_t first, int64_t size, int64_t dilation, int64_t taps) {
    low = min(taps, max<int64_t>(0, ceil_div(max<int64_t>(0, -first), dilation)));
    high = max(low, min(taps, floor_div(size - 1 - first, dilation) + 1));
  }
};

// One row of results from an input that lies [row][column][channel]: blocks of Q columns whose windows are inside (the last
// may overlap the one before), then the columns at both ends with the taps that are. Each block takes all channels, sixteen
// at a time, so that memory is read and written in order; `done(tile, channel, column, columns)` takes the results. The row
// that the next row of results needs is asked for ahead: no prefetcher sees it coming.
template <int COLUMNS, int Q, class S, class Done>
KW_INLINE void row(const S* x, int64_t start, int64_t size, int64_t row_step, int64_t pixel, int64_t stride,
                   int64_t dilation, const float* w, int64_t w_step, int64_t channels, Inside rows, int64_t wide,
                   const Done& done) {
  alignas(64) float tile[Q * 16];
  int64_t low = min(wide, ceil_div(max<int64_t>(0, -start), stride));
  int64_t high = max(low, min(wide, floor_div(size - 1 - start - (COLUMNS - 1) * dilation, stride) + 1));
  if (high - low < Q) high = low;
  for (int64_t q = 0; q < wide;) {
    bool block = q >= low && q < high;
    if (block) q = min(q, high - Q);
    Inside taps(start + q * stride, size, dilation, COLUMNS);
    for (int64_t c = 0; c < channels; c += 16) {
      int64_t lane = min(c, channels - 16);
      const S* at = x + lane + (start + q * stride) * pixel;
      const float* v = w + c / 16 * w_step;
      for (int i = 0; block && i < Q; ++i) __builtin_prefetch(at + rows.high * row_step + i * stride * pixel, 0, 2);
      if (block) window<COLUMNS, Q>(tile, at, row_step, dilation * pixel, stride * pixel, v, rows.low, rows.high);
      else window<COLUMNS, 1>(tile, at, row_step, dilation * pixel, 0, v, rows.low, rows.high, taps.low, taps.high);
      done(tile, lane, q, block ? Q : 1);
    }
    q += block ? Q : 1;
  }
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
