// Products with binary-coded weights: y[m, n] = sum_k x[m, k] * (sum_i alpha[i, n, g] * b[i, n, k] + offset[n, g]), b = ±1.
//
// Nothing is dequantised and nothing multiplied in the inner loop: for every four neighbouring inputs the 16 signed sums
// they can make are one vector, and the four bits of a weight's row pick one of them. A permutation looks up 16 rows at
// once; time is proportional to the number of planes. Source: LUT-GEMM (arXiv 2206.09557), section 3, with tables of 4
// inputs instead of 8 because 16 floats are a register.
//
// Weights lie in tiles of 16 rows: [rows / 16][K / 32][PLANES][16 words of 32 inputs]; alpha as [rows / 16][K / GROUP]
// [PLANES][16], offsets as [rows / 16][K / GROUP][16].
#pragma once
#include "lowbit.h"

namespace kw::lut {

using lowbit::CHUNK;
using lowbit::count_of;
using lowbit::ROWS;

constexpr int NIBBLE = 4;               // inputs of a table
constexpr int TABLES = CHUNK / NIBBLE;  // of a chunk
constexpr int BLOCK = 4;                // chunks that are summed before they are added to the rest, for accuracy
constexpr int AHEAD = 2048;             // bytes: each tile is a stream of its own
constexpr int MOST_TILES = 4;           // that share a table while it is in a register
constexpr float HUGE_SIZE = 1e37f;      // sums of four larger values may overflow where their products do not

// table[index & 15], lane by lane.
KW_INLINE vf look_up(vf table, vi index) {
#if defined(__AVX512F__) && defined(__clang__)
  return (vf)__builtin_ia32_permvarsf512(table, index);
#elif defined(__AVX512F__)
  return (vf)__builtin_ia32_permvarsf512_mask(table, index, table, (short)-1);
#else
  vf made{};
  for (int k = 0; k < W; ++k) made[k] = table[index[k] & 15];
  return made;
#endif
}

// The tables of a chunk of inputs; their sum is added to `sum`. Returns false where values are not finite, or huge.
template <class T>
KW_INLINE bool build(const T* x, float* tables, float& sum) {
  bool fine = true;
  for (int t = 0; t < TABLES; ++t) {
    vf table{};
    for (int b = 0; b < NIBBLE; ++b) {
      const float v = float(get(x + t * NIBBLE + b));
      fine = fine && v < HUGE_SIZE && v > -HUGE_SIZE;
      table += (vf)((vi)splat<vf>(v) ^ ((((iota() >> b) & 1) ^ 1) << 31));
    }
    store(tables + t * W, table);
    sum += table[15];
  }
  return fine;
}

// R tiles times one row of activations. Returns false when a scale or an offset is not finite.
template <int PLANES, int GROUP, bool OFFSET, int R, class S, class F>
KW_INLINE bool tiles(const uint8_t* codes, const S* alpha, const S* offset, int64_t depth, const float* tables,
                     const float* sums, const F& finish) {
  constexpr int CHUNKS = GROUP / CHUNK;
  const int64_t stride = depth / CHUNK * PLANES * 64, groups = depth / GROUP;
  vf total[R] = {}, poison{};
  for (int64_t g = 0; g < groups; ++g) {
    for (int plane = 0; plane < PLANES; ++plane) {
      vf part[R] = {};
      for (int first = 0; first < CHUNKS; first += BLOCK) {
        vf sum[R] = {};
        for (int c = first; c < min(first + BLOCK, CHUNKS); ++c) {
          const int64_t chunk = g * CHUNKS + c;
          vi words[R];
          for (int r = 0; r < R; ++r) {
            const uint8_t* from = codes + r * stride + (chunk * PLANES + plane) * 64;
            __builtin_memcpy(&words[r], from, sizeof(vi));
            __builtin_prefetch(from + AHEAD);
          }
#pragma GCC unroll 8
          for (int t = 0; t < TABLES; ++t) {
            const vf table = load(tables + (chunk * TABLES + t) * W);
            for (int r = 0; r < R; ++r) sum[r] += look_up(table, words[r] >> NIBBLE * t);
          }
        }
        for (int r = 0; r < R; ++r) part[r] += sum[r];
      }
      for (int r = 0; r < R; ++r) {
        const vf by = load(alpha + ((r * groups + g) * PLANES + plane) * ROWS);
        poison += by * 0.0f;
        total[r] += by * part[r];
      }
    }
    if constexpr (OFFSET)
      for (int r = 0; r < R; ++r) {
        const vf shift = load(offset + (r * groups + g) * ROWS);
        poison += shift * 0.0f;
        total[r] += shift * sums[g];
      }
  }
  for (int r = 0; r < R; ++r) finish(r, total[r]);
  return !any(poison != 0.0f);
}

// One tile times one row as the definition has it: the weight first, then its product.
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

// x: [m, depth] of T; out: [m, n] of O; `workspace` holds the tables of one row and the sums of its groups.
template <int PLANES, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void product(const T* x, const uint8_t* codes, const S* alpha, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
             int64_t depth, char* workspace, int most_threads, const F& activation) {
  const int64_t tile_bytes = depth / CHUNK * PLANES * 64, groups = depth / GROUP, count = ceil_div(n, ROWS);
  float* const tables = reinterpret_cast<float*>(workspace);
  float* const sums = tables + depth / NIBBLE * W;
  int32_t* const plain = reinterpret_cast<int32_t*>(sums + groups);  // of each group: is it to be computed plainly?
  const int threads = n * depth < lowbit::SMALL ? 1 : min(most_threads, max_threads());
  for (int64_t row = 0; row < m; ++row) {
    const T* const from = x + row * depth;
    auto put = [&](int64_t tile, vf v) {
      const int lanes = int(min<int64_t>(ROWS, n - tile * ROWS));
      if (bias) v += load(bias + tile * ROWS, lanes);
      store(out + row * n + tile * ROWS, activation(v), lanes);
    };
    auto in_float = [&](int64_t tile) {
      put(tile, plain_tile<PLANES, GROUP, OFFSET>(codes + tile * tile_bytes, alpha + tile * groups * PLANES * ROWS,
                                                  OFFSET ? offset + tile * groups * ROWS : nullptr, depth, from));
    };
    lowbit::parallel_upto(threads, groups, 4, [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        bool fine = true;
        float sum = 0.0f;
        for (int64_t c = g * GROUP; c < (g + 1) * GROUP; c += CHUNK)
          fine = build(from + c, tables + c / NIBBLE * W, sum) && fine;
        sums[g] = sum;
        plain[g] = !fine;
      }
    });
    bool fine = true;
    for (int64_t g = 0; g < groups; ++g) fine = fine && !plain[g];
    auto some = [&]<int R>(int64_t tile, count_of<R>) {
      const bool finite = fine && tiles<PLANES, GROUP, OFFSET, R>(
          codes + tile * tile_bytes, alpha + tile * groups * PLANES * ROWS,
          OFFSET ? offset + tile * groups * ROWS : nullptr, depth, tables, sums,
          [&](int r, vf v) { put(tile + r, v); });
      if (!finite)
        for (int r = 0; r < R; ++r) in_float(tile + r);
    };
    lowbit::parallel_upto(threads, count, MOST_TILES, [&](int64_t begin, int64_t end) {
      int64_t tile = begin;
      for (; tile + MOST_TILES <= end; tile += MOST_TILES) some(tile, count_of<MOST_TILES>{});
      for (; tile < end; ++tile) some(tile, count_of<1>{});
    });
  }
}

}  // namespace kw::lut
