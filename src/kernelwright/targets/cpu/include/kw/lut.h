// Products by tables: y[m, n] = sum_k x[m, k] * (sum_i alpha[i, n, g] * b[i, n, k] + offset[n, g]) with b = ±1, and those
// with integers of 1 or 2 bits.
//
// Nothing is dequantised and nothing multiplied in the inner loop: for few neighbouring inputs all sums that they can make
// are a table, and the bits of a weight's row pick one of them. Time is proportional to the number of planes.
// Source: LUT-GEMM (arXiv 2206.09557), section 3, with tables of 4 inputs instead of 8 because 16 entries fit a register.
//
// Planes lie in tiles of 16 rows: [rows / 16][K / 32][PLANES][16 words of 32 inputs]; alpha as [rows / 16][K / GROUP]
// [PLANES][16], offsets as [rows / 16][K / GROUP][16]. Integers lie as "lowbit_codes.h" says.
#pragma once
#include "lut_tables.h"

namespace kw::lut {

using lowbit::count_of;

constexpr int MOST_TILES = 4;  // that share a table while it is in a register

// One tile times M rows of activations as the definition has it: the weight first, then its products.
template <int PLANES, int GROUP, bool OFFSET, int M, class T, class S, class F>
KW_INLINE void plain_tile(const uint8_t* codes, const S* alpha, const S* offset, int64_t depth, const T* x, const F& finish) {
  vf total[M] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const int64_t g = k / GROUP;
    vf weight{};
    for (int plane = 0; plane < PLANES; ++plane) {
      vi word;
      __builtin_memcpy(&word, codes + (k / CHUNK * PLANES + plane) * 64, sizeof word);
      const vi turned = (((word >> int(k % CHUNK)) & 1) ^ 1) << 31;
      const vf by = (vf)((vi)load(alpha + (g * PLANES + plane) * ROWS) ^ turned);
      weight = plane ? weight + by : by;
    }
    if constexpr (OFFSET) weight = weight + load(offset + g * ROWS);
    for (int row = 0; row < M; ++row) total[row] += weight * float(get(x + row * depth + k));
  }
  for (int row = 0; row < M; ++row) finish(row, total[row]);
}

// Whole tiles of rows of the weight, shared among threads: some(tile, count_of<R>) for R of them.
template <class F>
KW_INLINE void over_tiles(int threads, int64_t count, const F& some) {
  lowbit::parallel_upto(threads, count, MOST_TILES, [&](int64_t begin, int64_t end) {
    int64_t tile = begin;
    for (; tile + MOST_TILES <= end; tile += MOST_TILES) some(tile, count_of<MOST_TILES>{});
    for (; tile < end; ++tile) some(tile, count_of<1>{});
  });
}

// x: [m, depth] of T; out: [m, n] of O; `workspace` holds the tables of one row.
template <int PLANES, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void product(const T* x, const uint8_t* codes, const S* alpha, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
             int64_t depth, char* workspace, int most_threads, const F& activation) {
  const int64_t tile_bytes = depth / CHUNK * PLANES * 64, groups = depth / GROUP, count = ceil_div(n, ROWS);
  const int threads = n * depth < lowbit::SMALL ? 1 : min(most_threads, max_threads());
  const Row made = row_at<Signs, GROUP>(workspace, depth);
  for (int64_t row = 0; row < m; ++row) {
    const T* const from = x + row * depth;
    const bool fine = build_row<GROUP, Signs>(from, depth, made);
    over_tiles(threads, count, [&]<int R>(int64_t tile, count_of<R>) {
      auto put = [&](int r, vf v) {
        const int lanes = int(min<int64_t>(ROWS, n - (tile + r) * ROWS));
        if (bias) v += load(bias + (tile + r) * ROWS, lanes);
        store(out + row * n + (tile + r) * ROWS, activation(v), lanes);
      };
      const uint8_t* const at = codes + tile * tile_bytes;
      const S *const scales = alpha + tile * groups * PLANES * ROWS, *const shifts = OFFSET ? offset + tile * groups * ROWS : nullptr;
      if (fine && tiles<Signs, PLANES, GROUP, OFFSET, R>(at, scales, shifts, depth, made, put)) return;
      for (int r = 0; r < R; ++r)
        plain_tile<PLANES, GROUP, OFFSET, 1>(at + r * tile_bytes, scales + r * groups * PLANES * ROWS,
                                             OFFSET ? shifts + r * groups * ROWS : nullptr, depth, from,
                                             [&](int, vf v) { put(r, v); });
    });
  }
}

// The same for integers of 1 or 2 bits. From FEW rows on two bits are multiplied with digits ("lowbit.h"), which need not
// build tables for each of them; so is what is not finite.
constexpr int FEW = 4;

template <class CODE, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void counts(const T* x, const uint8_t* codes, const S* scale, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
            int64_t depth, char* workspace, int most_threads, const F& activation) {
  using Set = Counts<CODE::BITS, CODE::ZERO>;
  auto by_digits = [&](int64_t row, int64_t rows) {
    lowbit::product<CODE, GROUP, OFFSET>(x + row * depth, codes, scale, offset, bias, out + row * n, rows, n, depth,
                                         workspace, most_threads, activation);
  };
  if (CODE::BITS > 1 && m >= FEW) return by_digits(0, m);
  const int64_t tile_bytes = depth / CHUNK * CODE::BITS * 64, groups = depth / GROUP, count = ceil_div(n, ROWS);
  const int threads = n * depth < lowbit::SMALL ? 1 : min(most_threads, max_threads());
  const Row made = row_at<Set, GROUP>(workspace, depth);
  for (int64_t row = 0; row < m; ++row) {
    int32_t fine = build_row<GROUP, Set>(x + row * depth, depth, made);
    if (fine)
      over_tiles(threads, count, [&]<int R>(int64_t tile, count_of<R>) {
        auto put = [&](int r, vf v) {
          const int lanes = int(min<int64_t>(ROWS, n - (tile + r) * ROWS));
          if (bias) v += load(bias + (tile + r) * ROWS, lanes);
          store(out + row * n + (tile + r) * ROWS, activation(v), lanes);
        };
        const S *const scales = scale + tile * groups * ROWS, *const shifts = OFFSET ? offset + tile * groups * ROWS : nullptr;
        if (!tiles<Set, 1, GROUP, OFFSET, R>(codes + tile * tile_bytes, scales, shifts, depth, made, put))
          __atomic_store_n(&fine, 0, __ATOMIC_RELAXED);
      });
    if (!fine) by_digits(row, 1);
  }
}

}  // namespace kw::lut
