// Chains of two products over a panel that never leaves the nearest caches: P = f(Q K^T), O = P V.
//
// Sixteen query rows are the lanes of a vector. So the panel lies [key][row], everything along a row (maxima, sums) is
// plain vector arithmetic, and K and V are read element by element where they lie, without packing; only the small block
// of Q is transposed before, and the block of O after.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace attention {

using gemm::Lanes;
using gemm::V;

// tile[i][USE vectors] (+)= sum over k of a[i * step + k * along] * b[k][USE vectors]; rows of b and tile are `pitch` apart.
// UNIT says that step is 1.
template <class T, int MR, int USE, bool UNIT>
KW_ONCE void micro(int64_t kc, const T* KW_RESTRICT a, int64_t step, int64_t along, const T* KW_RESTRICT b,
                   T* KW_RESTRICT tile, int pitch, bool add) {
  typedef typename gemm::Part<T>::type R;  // what a register holds
  constexpr int L = gemm::Part<T>::L, N = USE * gemm::PARTS;
  if constexpr (UNIT) step = 1;
  R acc[MR][N];
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) acc[i][j] = add ? *reinterpret_cast<const R*>(tile + i * pitch + j * L) : R{};
  for (int64_t k = 0; k < kc; ++k) {
    R bv[N];
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) bv[j] = *reinterpret_cast<const R*>(b + j * L);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j) acc[i][j] += a[i * step] * bv[j];
    a += along;
    b += pitch;
  }
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) *reinterpret_cast<R*>(tile + i * pitch + j * L) = acc[i][j];
}

// `rows` rows of A times the block b, MR at a time; REST is what may be left of them at the end (-1: anything).
// TAIL < NV vectors suffice where `narrow` says so.
template <class T, int MR, int REST, int NV, int TAIL, bool UNIT>
KW_INLINE void product(int64_t rows, int64_t kc, const T* a, int64_t step, int64_t along, const T* b, T* tile, int pitch,
                       bool add, bool narrow) {
  int64_t i = 0;
  for (; i + MR <= rows; i += MR) {
    if (TAIL < NV && narrow) micro<T, MR, TAIL, UNIT>(kc, a + i * step, step, along, b, tile + i * pitch, pitch, add);
    else micro<T, MR, NV, UNIT>(kc, a + i * step, step, along, b, tile + i * pitch, pitch, add);
  }
  if constexpr (REST > 0) {
    if (i < rows) micro<T, REST, NV, UNIT>(kc, a + i * step, step, along, b, tile + i * pitch, pitch, add);
  }
  if constexpr (REST < 0) {
    for (; i < rows; ++i) micro<T, 1, NV, UNIT>(kc, a + i * step, step, along, b, tile + i * pitch, pitch, add);
  }
}

// Whether every element is neither infinite nor NaN, so that a weight of zero makes it zero.
template <class S>
KW_ONCE bool finite(const S* p, int64_t rows, int64_t step, int64_t columns, int64_t along) {
  float sum = 0;
  vf sums{}, more{};
  if (along == 1 && step == columns) columns *= rows, rows = rows ? 1 : 0;
  for (int64_t i = 0; i < rows; ++i, p += step) {
    int64_t j = 0;
    if constexpr (sizeof(vec_t<S>) == 64) {
      if (along == 1) {
        for (; j + 64 <= columns; j += 64) {
          sums += load(p + j) * 0.0f + load(p + j + 16) * 0.0f;
          more += load(p + j + 32) * 0.0f + load(p + j + 48) * 0.0f;
        }
        for (; j + 16 <= columns; j += 16) sums += load(p + j) * 0.0f;
      }
    }
    for (; j < columns; ++j) {
      auto x = get(p + j * along);
      sum += static_cast<float>(x - x);
    }
  }
  return sum + hsum(sums + more) == 0.0f;
}

// A block of an operand as T, rows one after the other.
template <class T, class S>
KW_ONCE void straighten(T* dst, const S* p, int64_t rows, int64_t step, int64_t columns, int64_t along) {
  for (int64_t i = 0; i < rows; ++i, p += step, dst += columns) {
    int64_t j = 0;
    if constexpr (sizeof(vec_t<S>) == 64 && sizeof(T) == 4) {
      if (along == 1)
        for (; j + 16 <= columns; j += 16) store(dst + j, load(p + j));
    }
    for (; j < columns; ++j) dst[j] = static_cast<T>(get(p + j * along));
  }
}

// dst[key][row] = src[row * step + key * along]; rows past the last repeat it.
template <class S>
KW_ONCE void turn(S* dst, int pitch, const S* src, int64_t step, int64_t along, int64_t rows, int64_t keys) {
  for (int64_t r = 0; r < pitch; r += 16) {
    int64_t at[16];
    for (int i = 0; i < 16; ++i) at[i] = min(r + i, rows - 1) * step;
    int64_t k = 0;
    if constexpr (sizeof(vec_t<S>) == 64) {
      if (along == 1)
        for (; k + 16 <= keys; k += 16) {
          vf lanes[16];
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) lanes[i] = (vf)load(src + at[i] + k);
          gemm::transpose(lanes);
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) store(dst + (k + i) * pitch + r, (vec_t<S>)lanes[i]);
        }
    }
    for (; k < keys; ++k)
      for (int i = 0; i < 16; ++i) dst[k * pitch + r + i] = src[at[i] + k * along];
  }
}

// Sixteen rows of the result, `width` of each: dst[row][column] = src[column][row].
inline KW_ONCE void turn_back(float* dst, int64_t to, const float* src, int pitch, int64_t width) {
  for (int64_t d = 0; d < width; d += 16) {
    vf lanes[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) lanes[i] = load(src + (d + i) * pitch);
    gemm::transpose(lanes);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) store(dst + i * to + d, lanes[i]);
  }
}
inline KW_ONCE void turn_back(double* dst, int64_t to, const double* src, int pitch, int64_t width) {
  for (int64_t d = 0; d < width; ++d)
    for (int i = 0; i < 16; ++i) dst[i * to + d] = src[d * pitch + i];
}

}  // namespace attention
}  // namespace kw
