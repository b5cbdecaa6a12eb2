// Products with few rows (matrix times vector): the matrix B is streamed once, in the order it lies in memory. The rows
// of A are short and dense: a[m * pitch + k].
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace matvec {

// tile[m * width + j] = sum_k a[m][k] * b[rows[j] + k] for j < n: every row of B is contiguous along k.
template <int MR, class S>
KW_ONCE void dot(float* tile, int width, const float* a, int64_t pitch, const S* b,
                                   const int64_t* rows, int n, int64_t k) {
  constexpr int NB = MR <= 2 ? 4 : 2, UNROLL = MR == 1 ? 2 : 1;
  for (int j = 0; j < n; j += NB) {
    const S* row[NB];
#pragma GCC unroll 4
    for (int q = 0; q < NB; ++q) row[q] = b + rows[min(j + q, n - 1)];
    vf acc[MR][NB][UNROLL] = {};
    int64_t i = 0;
    for (; i + 16 * UNROLL <= k; i += 16 * UNROLL)
#pragma GCC unroll 2
      for (int u = 0; u < UNROLL; ++u) {
        vf x[MR];
#pragma GCC unroll 4
        for (int m = 0; m < MR; ++m) x[m] = load(a + m * pitch + i + 16 * u);
#pragma GCC unroll 4
        for (int q = 0; q < NB; ++q) {
          vf y = load(row[q] + i + 16 * u);
#pragma GCC unroll 4
          for (int m = 0; m < MR; ++m) acc[m][q][u] += x[m] * y;
        }
      }
    for (; i < k; i += 16) {
      int rest = static_cast<int>(min<int64_t>(16, k - i));
#pragma GCC unroll 4
      for (int q = 0; q < NB; ++q) {
        vf y = load(row[q] + i, rest);
#pragma GCC unroll 4
        for (int m = 0; m < MR; ++m) acc[m][q][0] += load(a + m * pitch + i, rest) * y;
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int q = 0; q < NB; ++q) {
        vf sum = acc[m][q][0];
        if (UNROLL == 2) sum += acc[m][q][UNROLL - 1];
        float total[16];
        store(total, sum);
        for (int step = 8; step; step /= 2)
          for (int e = 0; e < step; ++e) total[e] += total[e + step];
        if (j + q < n) tile[m * width + j + q] = total[0];
      }
  }
}

// The partial sums of GROUP rows of A with NB rows of B over n <= STEPS elements.
template <int GROUP, int NB, class S>
KW_ONCE void partial_dots(vf* KW_RESTRICT sums, const float* const* a, const S* const* b, int64_t from, int64_t n) {
  vf acc[GROUP][NB];
#pragma GCC unroll 8
  for (int m = 0; m < GROUP; ++m)
#pragma GCC unroll 8
    for (int q = 0; q < NB; ++q) acc[m][q] = sums[m * NB + q];
  const float* x[GROUP];
  const S* y[NB];
#pragma GCC unroll 8
  for (int m = 0; m < GROUP; ++m) x[m] = a[m];
#pragma GCC unroll 8
  for (int q = 0; q < NB; ++q) y[q] = b[q] + from;
  for (int64_t i = 0; i < n; i += 16) {
    int lanes = static_cast<int>(min<int64_t>(16, n - i));
    vf row[NB];
#pragma GCC unroll 8
    for (int q = 0; q < NB; ++q) row[q] = gemm::MASKS || lanes < 16 ? load_mask(y[q] + i, first(lanes)) : load(y[q] + i);
#pragma GCC unroll 8
    for (int m = 0; m < GROUP; ++m) {
      vf value = load(x[m] + i);  // rows of A end in zeros, as far as a vector reaches
#pragma GCC unroll 8
      for (int q = 0; q < NB; ++q) acc[m][q] += value * row[q];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < GROUP; ++m)
#pragma GCC unroll 8
    for (int q = 0; q < NB; ++q) sums[m * NB + q] = acc[m][q];
}

// As `dot` for up to some tens of rows: a few rows of B and a stretch of A stay in the nearest cache while all rows of A
// meet them. A lies in stretches of 256 steps, [stretch][row][step], with zeros up to a whole vector at the end.
template <int MR, class S>
KW_ONCE void dots(float* tile, int width, const float* a, const S* b, const int64_t* rows, int n, int64_t k) {
  constexpr int NB = 5, GROUP = 4, STEPS = 256, GROUPS = (MR + GROUP - 1) / GROUP, WHOLE = (GROUPS * GROUP + 15) / 16 * 16;
  for (int j = 0; j < n; j += NB) {
    const S* y[NB];
    for (int q = 0; q < NB; ++q) y[q] = b + rows[min(j + q, n - 1)];
    vf sums[WHOLE * NB] = {};
    for (int64_t i = 0; i < k; i += STEPS)
      for (int g = 0; g < GROUPS; ++g) {
        const float* x[GROUP];
        for (int m = 0; m < GROUP; ++m) x[m] = a + i * MR + min(g * GROUP + m, MR - 1) * STEPS;
        partial_dots<GROUP, NB>(sums + g * GROUP * NB, x, y, i, min<int64_t>(STEPS, k - i));
      }
#pragma GCC unroll 1
    for (int q = 0; q < min(NB, n - j); ++q)
#pragma GCC unroll 1
      for (int m = 0; m < MR; m += 16) {
        vf lanes[16];
        for (int e = 0; e < 16; ++e) lanes[e] = sums[(m + e) * NB + q];
        gemm::transpose(lanes);
#pragma GCC unroll 4
        for (int half = 8; half; half /= 2)
#pragma GCC unroll 8
          for (int e = 0; e < half; ++e) lanes[e] += lanes[e + half];
        float total[16];
        store(total, lanes[0]);
#pragma GCC unroll 1
        for (int e = 0; e < min(16, MR - m); ++e) tile[(m + e) * width + j + q] = total[e];
      }
  }
}

// tile[m * width + j] = sum_k a[m][k] * b[steps[k] + j] for j < n: the columns of B are contiguous.
template <int MR, class S>
KW_ONCE void axpy(float* tile, int width, const float* a, int64_t pitch, const S* b,
                                    const int64_t* steps, int n, int64_t k, bool add) {
  constexpr int KB = 8;
  if (!add)
    for (int m = 0; m < MR; ++m)
      for (int j = 0; j < n; ++j) tile[m * width + j] = 0;
  int64_t i = 0;
  for (; i + KB <= k; i += KB) {
    const S* row[KB];
#pragma GCC unroll 8
    for (int q = 0; q < KB; ++q) row[q] = b + steps[i + q];
    for (int j = 0; j < n; j += 16) {
      int lanes = min(16, n - j);
      vf y[KB];
      if (lanes == 16) {
#pragma GCC unroll 8
        for (int q = 0; q < KB; ++q) y[q] = load(row[q] + j);
      } else {
#pragma GCC unroll 8
        for (int q = 0; q < KB; ++q) y[q] = load(row[q] + j, lanes);
      }
#pragma GCC unroll 4
      for (int m = 0; m < MR; ++m) {
        vf acc = load(tile + m * width + j), other = gemm::same(a[m * pitch + i]) * y[0];
#pragma GCC unroll 8
        for (int q = 1; q < KB; q += 2) {
          acc += gemm::same(a[m * pitch + i + q]) * y[q];
          if (q + 1 < KB) other += gemm::same(a[m * pitch + i + q + 1]) * y[q + 1];
        }
        store(tile + m * width + j, acc + other);
      }
    }
  }
  for (; i < k; ++i)
    for (int m = 0; m < MR; ++m) {
      vf x = gemm::same(a[m * pitch + i]);
      for (int j = 0; j < n; j += 16) {
        int lanes = min(16, n - j);
        float* t = tile + m * width + j;
        store(t, load(t) + x * load(b + steps[i] + j, lanes));
      }
    }
}

}  // namespace matvec
}  // namespace kw
