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

// One tile times one row of activations as the definition has it: the weight first, then its product.
template <int PLANES, int GROUP, bool OFFSET, class T, class S>
KW_INLINE vf plain_tile(const uint8_t* codes, const S* alpha, const S* offset, int64_t depth, const T* x) {
  vf total{};
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
    total += weight * float(get(x + k));
  }
  return total;
}

// One row of activations times all tiles; put(tile, sums) for each of them. Returns false when what was put does not hold,
// because of values that are not finite, huge or tiny.
template <class SET, int PLANES, int GROUP, bool OFFSET, class T, class S, class F>
KW_INLINE bool look_up_row(const T* x, const uint8_t* codes, const S* scale, const S* offset, int64_t n, int64_t depth,
                           char* workspace, int threads, const F& put) {
  const int64_t tile_bytes = depth / CHUNK * PLANES * SET::VECTORS * 64, groups = depth / GROUP;
  const Row row = row_at<SET, GROUP>(workspace, depth);
  if (!build_row<GROUP, SET>(x, depth, row)) return false;
  int32_t fine = 1;
  auto some = [&]<int R>(int64_t tile, count_of<R>) {
    if (!tiles<SET, PLANES, GROUP, OFFSET, R>(codes + tile * tile_bytes, scale + tile * groups * PLANES * ROWS,
                                              OFFSET ? offset + tile * groups * ROWS : nullptr, depth, row,
                                              [&](int r, vf v) { put(tile + r, v); }))
      __atomic_store_n(&fine, 0, __ATOMIC_RELAXED);
  };
  lowbit::parallel_upto(threads, ceil_div(n, ROWS), MOST_TILES, [&](int64_t begin, int64_t end) {
    int64_t tile = begin;
    for (; tile + MOST_TILES <= end; tile += MOST_TILES) some(tile, count_of<MOST_TILES>{});
    for (; tile < end; ++tile) some(tile, count_of<1>{});
  });
  return fine;
}

// x: [m, depth] of T; out: [m, n] of O; `workspace` holds the tables of one row.
template <class SET, int PLANES, int GROUP, bool OFFSET, class T, class S, class B, class O, class F, class P>
KW_INLINE void by_rows(const T* x, const uint8_t* codes, const S* scale, const S* offset, const B* bias, O* out, int64_t m,
                       int64_t n, int64_t depth, char* workspace, int most_threads, const F& activation, const P& plain) {
  const int threads = n * depth < lowbit::SMALL ? 1 : min(most_threads, max_threads());
  for (int64_t row = 0; row < m; ++row) {
    auto put = [&](int64_t tile, vf v) {
      const int lanes = int(min<int64_t>(ROWS, n - tile * ROWS));
      if (bias) v += load(bias + tile * ROWS, lanes);
      store(out + row * n + tile * ROWS, activation(v), lanes);
    };
    if (!look_up_row<SET, PLANES, GROUP, OFFSET>(x + row * depth, codes, scale, offset, n, depth, workspace, threads, put))
      plain(row, threads, put);
  }
}

// Products with sign planes.
template <int PLANES, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void product(const T* x, const uint8_t* codes, const S* alpha, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
             int64_t depth, char* workspace, int most_threads, const F& activation) {
  const int64_t tile_bytes = depth / CHUNK * PLANES * 64, groups = depth / GROUP;
  auto plain = [&](int64_t row, int threads, const auto& put) {
    lowbit::parallel_upto(threads, ceil_div(n, ROWS), 1, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile)
        put(tile, plain_tile<PLANES, GROUP, OFFSET>(codes + tile * tile_bytes, alpha + tile * groups * PLANES * ROWS,
                                                    OFFSET ? offset + tile * groups * ROWS : nullptr, depth, x + row * depth));
    });
  };
  by_rows<Signs, PLANES, GROUP, OFFSET>(x, codes, alpha, offset, bias, out, m, n, depth, workspace, most_threads, activation,
                                        plain);
}

// Products with integers of 1 or 2 bits. From FEW rows on two bits are multiplied with digits ("lowbit.h"), which need not
// build tables for each of them; so is what is not finite.
constexpr int FEW = 4;

template <class CODE, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void counts(const T* x, const uint8_t* codes, const S* scale, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
            int64_t depth, char* workspace, int most_threads, const F& activation) {
  auto by_digits = [&](int64_t row, int64_t rows) {
    lowbit::product<CODE, GROUP, OFFSET>(x + row * depth, codes, scale, offset, bias, out + row * n, rows, n, depth,
                                         workspace, most_threads, activation);
  };
  if (CODE::BITS > 1 && m >= FEW) return by_digits(0, m);
  by_rows<Counts<CODE::BITS, CODE::ZERO>, 1, GROUP, OFFSET>(
      x, codes, scale, offset, bias, out, m, n, depth, workspace, most_threads, activation,
      [&](int64_t row, int, const auto&) { by_digits(row, 1); });
}

}  // namespace kw::lut
