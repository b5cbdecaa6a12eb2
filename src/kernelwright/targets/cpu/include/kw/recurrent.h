// Recurrences: rows of a state times fixed weights, step after step. The weights are packed once, in panels of [k][lanes]
// that the micro-kernel of kw/micro.h streams; the states lie in padded rows, so that whole vectors may be read and written.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace recurrent {

// Sixteen columns of a weight into every step of a panel: to[k * pitch + lane] = p[(column + lane) * unit + k * depth].
// `p` is `base` elements into a tensor of `size` elements; columns from `columns` on become zeros.
template <bool ALONG, class T, class S>
KW_ONCE void pack_columns(T* to, int pitch, const S* p, int64_t base, int64_t size, int64_t column, int64_t columns,
                          int64_t unit, int64_t depth, int64_t steps) {
  int width = static_cast<int>(max<int64_t>(0, min<int64_t>(16, columns - column)));
  if (width == 0) {
    for (int64_t k = 0; k < steps; ++k)
      for (int e = 0; e < 16; ++e) to[k * pitch + e] = 0;
    return;
  }
  constexpr int64_t CHUNK = 256;
  int64_t lane[16], step[CHUNK];
  for (int e = 0; e < width; ++e) lane[e] = (column + e) * unit;
  for (int64_t k = 0; k < steps; k += CHUNK) {
    int64_t n = min(CHUNK, steps - k);
    for (int64_t i = 0; i < n; ++i) step[i] = (k + i) * depth;
    gemm::pack_group<ALONG>(to + k * pitch, pitch, 16, width, gemm::Source<S>{p, -base, size - base}, lane, step, n);
  }
}

// Rows [row0, row1) of a state, from memory into padded rows: what lies outside [0, rows) x [0, units) becomes zero.
template <class T, class S>
KW_ONCE void enter(T* to, int64_t pitch, const S* p, int64_t row, int64_t unit, int64_t row0, int64_t row1, int64_t rows,
                   int64_t units) {
  for (int64_t i = row0; i < row1; ++i) {
    T* d = to + i * pitch;
    int64_t n = i < rows ? units : 0;
    if (n) gemm::copy_row(d, p + i * row, n, unit);
    for (int64_t j = n; j < pitch; ++j) d[j] = 0;
  }
}

template <class T>
KW_ONCE void clear(T* to, int64_t pitch, int64_t row0, int64_t row1) {
  for (int64_t i = row0 * pitch; i < row1 * pitch; ++i) to[i] = 0;
}

// The same rows back into memory.
template <class T, class S>
KW_ONCE void leave(S* p, int64_t row, int64_t unit, const T* from, int64_t pitch, int64_t row0, int64_t row1,
                   int64_t units) {
  for (int64_t i = row0; i < row1; ++i)
    for (int64_t j = 0; j < units; ++j) put(p + i * row + j * unit, from[i * pitch + j]);
}

}  // namespace recurrent
}  // namespace kw
