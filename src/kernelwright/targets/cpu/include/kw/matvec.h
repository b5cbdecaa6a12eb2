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
