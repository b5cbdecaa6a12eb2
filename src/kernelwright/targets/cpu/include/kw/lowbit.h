// Products with weights of 1 to 8 bits: y[m, n] = sum_k x[m, k] * (scale[n, k / GROUP] * value(code[n, k]) + offset[n, k / GROUP]).
//
// Where values are integers times a unit, activations become integers of 24 bits, each cut into three digits of one byte
// (four where values of very different size meet), so that a product is three dot products of bytes, exact in 32-bit
// integers, whose partial sums are joined in float once for each group. That is as exact as float32 arithmetic, and
// several times less work than converting every weight. Other types and small groups are looked up ("lowbit_lookup.h").
// Rows with infinities or NaN, and processors without byte dot products, take the plain way in float.
//
// "lowbit_codes.h" says how codes lie in memory; scales and offsets lie as [rows / 16][K / GROUP][16].
#pragma once
#include "lowbit_lookup.h"

namespace kw::lowbit {

constexpr int DIGITS = 4;  // at most; a lane of digits is stored for each, whether used or not

constexpr int64_t SMALL = 1 << 17;  // products: below it a second thread costs more than it saves

template <int N>
struct count_of {};

// As parallel_for, on at most so many threads.
template <class F>
KW_INLINE void parallel_upto(int threads, int64_t n, int64_t grain, const F& body) {
  const int64_t blocks = ceil_div(n, grain);
  parallel(int(min<int64_t>(threads, blocks)), [&](int thread, int count) {
    int64_t begin = blocks * thread / count * grain, end = min(n, blocks * (thread + 1) / count * grain);
    if (begin < end) body(begin, end);
  });
}

// What is known of one row of activations, in the workspace.
struct Row {
  int32_t* digits;  // [K / SLICE][DIGITS]: four signed bytes, one digit of four neighbouring inputs
  int32_t* start;   // [K / BLOCK][DIGITS]: -ZERO times the sum of each digit
  float* unit;      // [K / BLOCK]: what the lowest digit counts, times the codes' unit
  float* sum;       // [K / GROUP]: the sum of the activations, for the offsets
  int32_t* deep;    // [K / BLOCK]: does the block use all four digits?
  bool plain;       // not finite, or next to nothing: to be computed in float
};

template <int GROUP>
constexpr int block_of = GROUP % 128 == 0 ? 128 : GROUP % 64 == 0 ? 64 : 32;

template <int GROUP>
KW_INLINE int64_t row_bytes(int64_t depth) {
  constexpr int BLOCK = block_of<GROUP>;
  return (depth / SLICE * DIGITS + depth / BLOCK * (DIGITS + 2) + depth / GROUP) * 4;
}

template <int GROUP>
KW_INLINE Row row_at(char* memory, int64_t depth) {
  constexpr int BLOCK = block_of<GROUP>;
  Row row;
  row.digits = reinterpret_cast<int32_t*>(memory);
  row.start = row.digits + depth / SLICE * DIGITS;
  row.unit = reinterpret_cast<float*>(row.start + depth / BLOCK * DIGITS);
  row.deep = reinterpret_cast<int32_t*>(row.unit + depth / BLOCK);
  row.sum = reinterpret_cast<float*>(row.deep + depth / BLOCK);
  row.plain = false;
  return row;
}

constexpr float SPREAD = 8.0f;     // blocks whose largest value is more than so many times the mean need a fourth digit
constexpr float TINY = 1e-27f;     // below it a unit is no normal number any more
constexpr float TOP = 8355000.0f;  // three digits from -128 to 127 reach to 8355711, four to 2139062143
constexpr float DEEP_TOP = 2130706432.0f;

// Cuts BLOCK activations into digits. Returns false when they are not finite, or too small for it.
template <int BLOCK, class CODE, class T>
KW_INLINE bool cut(const T* x, int32_t* digits, int32_t* start, float& unit, int32_t& deep, double& sum) {
  vf most{}, all{}, poison{};
  for (int k = 0; k < BLOCK; k += W) {
    vf v = load(x + k);
    vf size = v < 0.0f ? -v : v;
    most = size > most ? size : most;
    all += size;
    poison += v * 0.0f;
  }
  float largest = 0, total = 0, bad = 0;
  for (int k = 0; k < W; ++k) {
    largest = max(largest, float(most[k]));
    total += all[k];
    bad += poison[k];
  }
  if (bad != 0.0f || (largest > 0.0f && largest < TINY)) return false;
  deep = largest > SPREAD / BLOCK * total;
  const float top = deep ? DEEP_TOP : TOP;
  const float inverse = largest > 0.0f ? top / largest : 0.0f;
  unit = largest / top;
  vi sums[DIGITS] = {};
  for (int k = 0; k < BLOCK; k += W) {
    vf v = load(x + k) * inverse;
    vi rest = __builtin_convertvector(v + (v < 0.0f ? splat<vf>(-0.5f) : splat<vf>(0.5f)), vi);
    vi cut[DIGITS];
    for (int d = 0; d < DIGITS; ++d) {
      cut[d] = (rest << 24) >> 24;
      rest = (rest - cut[d]) >> 8;
      sums[d] += cut[d];
    }
    for (int s = 0; s < W / SLICE; ++s)
      for (int d = 0; d < DIGITS; ++d) {
        uint32_t word = 0;
        for (int j = 0; j < SLICE; ++j) word |= (uint32_t(cut[d][s * SLICE + j]) & 255u) << 8 * j;
        digits[(k / SLICE + s) * DIGITS + d] = int32_t(word);
      }
  }
  double value = 0, weight = 1;
  for (int d = 0; d < DIGITS; ++d) {
    int32_t whole = 0;
    for (int k = 0; k < W; ++k) whole += sums[d][k];
    start[d] = -CODE::ZERO * whole;
    value += weight * whole;
    weight *= 256;
  }
  sum += value * unit;
  unit *= CODE::UNIT;
  return true;
}

template <int GROUP, class CODE, class T>
KW_INLINE void cut_row(const T* x, int64_t depth, Row& row) {
  constexpr int BLOCK = block_of<GROUP>;
  for (int64_t g = 0; g < depth / GROUP; ++g) {
    double sum = 0;
    for (int b = 0; b < GROUP / BLOCK; ++b) {
      const int64_t at = g * (GROUP / BLOCK) + b;
      if (!cut<BLOCK, CODE>(x + at * BLOCK, row.digits + at * (BLOCK / SLICE) * DIGITS, row.start + at * DIGITS,
                            row.unit[at], row.deep[at], sum)) {
        row.plain = true;
        return;
      }
    }
    row.sum[g] = static_cast<float>(sum);
  }
}

#ifdef __AVX512VNNI__
KW_INLINE vi dot(vi sum, bytes codes, int32_t digits) {
  return dot(sum, codes, (bytes)splat<vi>(digits));
}

// One block of R tiles times M rows of activations, added to `total` after scaling; D digits.
template <class CODE, int BLOCK, int R, int M, int D>
KW_INLINE void block(const Levels<CODE>& levels, const uint8_t* const* codes, const Row* rows, int64_t at, const vf* scale, vf (*total)[M]) {
  vi sums[R][M][D];
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m)
      for (int d = 0; d < D; ++d) sums[r][m][d] = splat<vi>(rows[m].start[at * DIGITS + d]);
  for (int c = 0; c < BLOCK / CHUNK; ++c) {
#pragma GCC unroll 8
    for (int s = 0; s < SLICES; ++s) {
      bytes part[R];
      for (int r = 0; r < R; ++r)
        part[r] = levels.of(slice<CODE::BITS>(codes[r] + (at * (BLOCK / CHUNK) + c) * 64 * CODE::BITS, s));
      for (int m = 0; m < M; ++m)
        for (int d = 0; d < D; ++d) {
          const int32_t word = rows[m].digits[((at * (BLOCK / CHUNK) + c) * SLICES + s) * DIGITS + d];
          for (int r = 0; r < R; ++r) sums[r][m][d] = dot(sums[r][m][d], part[r], word);
        }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) {
      vf joined = __builtin_convertvector(sums[r][m][D - 1], vf);
      for (int d = D - 2; d >= 0; --d) joined = joined * 256.0f + __builtin_convertvector(sums[r][m][d], vf);
      total[r][m] += joined * (scale[r] * rows[m].unit[at]);
    }
}

// The same with four digits, a tile at a time: seldom needed, and more sums than there are registers otherwise.
template <class CODE, int BLOCK, int R, int M>
void deep_block(const Levels<CODE>& levels, const uint8_t* const* codes, const Row* rows, int64_t at, const vf* scale,
                vf (*total)[M]) {
  for (int r = 0; r < R; ++r) block<CODE, BLOCK, 1, M, DIGITS>(levels, codes + r, rows, at, scale + r, total + r);
}

constexpr int AHEAD = 2048;  // bytes: each tile is a stream of its own that ends before the hardware has learnt it

// R tiles times M rows of activations. Returns false when a scale or an offset is not finite.
template <class CODE, int GROUP, bool OFFSET, int R, int M, class S, class F>
KW_INLINE bool tiles(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const Row* rows, const F& finish) {
  constexpr int BLOCK = block_of<GROUP>, BITS = CODE::BITS;
  const Levels<CODE> levels;
  const int64_t stride = depth / CHUNK * 64 * BITS, groups = depth / GROUP;
  const uint8_t* from[R];
  for (int r = 0; r < R; ++r) from[r] = codes + r * stride;
  vf total[R][M] = {}, poison{};
  for (int64_t g = 0; g < groups; ++g) {
    vf scales[R];
    for (int r = 0; r < R; ++r) {
      scales[r] = load(scale + (r * groups + g) * ROWS);
      poison += scales[r] * 0.0f;
    }
    for (int b = 0; b < GROUP / BLOCK; ++b) {
      const int64_t at = g * (GROUP / BLOCK) + b;
      for (int r = 0; r < R; ++r)
        for (int line = 0; line < BLOCK / CHUNK * BITS; ++line)
          __builtin_prefetch(from[r] + at * (BLOCK / CHUNK) * 64 * BITS + line * 64 + AHEAD);
      int32_t deep = 0;
      for (int m = 0; m < M; ++m) deep |= rows[m].deep[at];
      if (deep) deep_block<CODE, BLOCK, R, M>(levels, from, rows, at, scales, total);
      else block<CODE, BLOCK, R, M, 3>(levels, from, rows, at, scales, total);
    }
    if constexpr (OFFSET)
      for (int r = 0; r < R; ++r) {
        const vf shift = load(offset + (r * groups + g) * ROWS);
        poison += shift * 0.0f;
        for (int m = 0; m < M; ++m) total[r][m] += shift * rows[m].sum[g];
      }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) finish(m, r, total[r][m]);
  return !any(poison != 0.0f);
}
#endif

// x as it is, and not fused with what follows: 5 * s must round before the offset -5 * s is added to it.
KW_INLINE vf rounded(vf x) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(x));
#elif defined(__AVX__)
  vf8 a = low(x), b = high(x);
  __asm__("" : "+x"(a), "+x"(b));
  x = join(a, b);
#else
  __asm__("" : "+m"(x));
#endif
  return x;
}

// One tile times M rows of activations in float.
template <class CODE, int GROUP, bool OFFSET, int M, class T, class S, class F>
KW_INLINE void plain_tile(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const T* const* x, const F& finish) {
  vf total[M] = {};
  for (int64_t g = 0; g < depth / GROUP; ++g) {
    const vf by = load(scale + g * ROWS);
    vf shift{};
    if constexpr (OFFSET) shift = load(offset + g * ROWS);
    for (int64_t s = g * (GROUP / SLICE); s < (g + 1) * (GROUP / SLICE); ++s) {
      const vi part = (vi)slice<CODE::BITS>(codes + s / SLICES * 64 * CODE::BITS, int(s % SLICES));
      for (int j = 0; j < SLICE; ++j) {
        // As the definition has it, so that a weight that is exactly zero stays so beside an infinity.
        vf weight = value<CODE>((part >> 8 * j) & 255) * by;
        if constexpr (OFFSET) weight = rounded(weight) + shift;
        for (int m = 0; m < M; ++m) total[m] += weight * float(get(x[m] + s * SLICE + j));
      }
    }
  }
  for (int m = 0; m < M; ++m) finish(m, total[m]);
}

#ifdef __AVX512VNNI__
constexpr bool HAS_DOTS = true;
#else
constexpr bool HAS_DOTS = false;
#endif

// Rows of activations as the inner loops want them, and those loops: sums of integers.
template <class CODE, int GROUP, bool OFFSET>
struct Exact {
  typedef Row Prepared;
  static int64_t size(int64_t depth) { return row_bytes<GROUP>(depth); }
  template <class T>
  static Row prepare(const T* x, char* memory, int64_t depth) {
    Row row = row_at<GROUP>(memory, depth);
    cut_row<GROUP, CODE>(x, depth, row);
    return row;
  }
  template <int R, int M, class S, class F>
  static bool some(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const Row* rows, const F& finish) {
    return tiles<CODE, GROUP, OFFSET, R, M>(codes, scale, offset, depth, rows, finish);
  }
};

// The same by tables.
template <class CODE, int GROUP, bool OFFSET>
struct Looked {
  typedef Spread Prepared;
  static int64_t size(int64_t depth) { return spread_bytes<GROUP>(depth); }
  template <class T>
  static Spread prepare(const T* x, char* memory, int64_t depth) {
    return spread_row<GROUP, OFFSET>(x, memory, depth);
  }
  template <int R, int M, class S, class F>
  static bool some(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const Spread* rows,
                   const F& finish) {
    return looked_up<CODE, GROUP, OFFSET, R, M>(codes, scale, offset, depth, rows, finish);
  }
};

template <class CODE, int GROUP>
constexpr bool is_exact = HAS_DOTS && CODE::LEVELS && GROUP % CHUNK == 0 && (CODE::COUNTED || HAS_PERMUTES);

// All rows by all tiles, in the order that suits the registers: WAY says how some of them are multiplied.
template <class WAY, class T, class S, class P, class I>
KW_INLINE void by_tiles(const T* x, const uint8_t* codes, const S* scale, const S* offset, int64_t m, int64_t count,
                        int64_t depth, int64_t tile_bytes, int64_t groups, char* workspace, int threads,
                        const P& put_tile, const I& in_float) {
  typedef typename WAY::Prepared Prepared;
  Prepared* const rows = reinterpret_cast<Prepared*>(workspace);
  char* const memory = workspace + m * sizeof(Row);
  parallel_upto(m < 4 ? 1 : threads, m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) rows[k] = WAY::prepare(x + k * depth, memory + k * WAY::size(depth), depth);
  });
  auto some = [&]<int R, int M>(int64_t tile, int64_t row, count_of<R>, count_of<M>) {
    const bool finite = WAY::template some<R, M>(
        codes + tile * tile_bytes, scale + tile * groups * ROWS, offset ? offset + tile * groups * ROWS : nullptr, depth,
        rows + row, [&](int k, int r, vf v) { put_tile(tile + r, row + k, v); });
    if (!finite)
      for (int r = 0; r < R; ++r) in_float(tile + r, row, count_of<M>{});
  };
  auto all_rows = [&]<int R>(int64_t tile, count_of<R> width) {
    int64_t row = 0;
    for (; row + 4 <= m; row += 4) {
      int r = 0;
      for (; r + 2 <= R; r += 2) some(tile + r, row, count_of<2>{}, count_of<4>{});
      if (r < R) some(tile + r, row, count_of<1>{}, count_of<4>{});
    }
    for (; row < m; ++row) some(tile, row, width, count_of<1>{});
  };
  parallel_upto(threads, count, 4, [&](int64_t begin, int64_t end) {
    int64_t tile = begin;
    for (; tile + 4 <= end; tile += 4) all_rows(tile, count_of<4>{});
    for (; tile < end; ++tile) all_rows(tile, count_of<1>{});
    for (int64_t k = 0; k < m; ++k)
      if (rows[k].plain)
        for (int64_t t = begin; t < end; ++t) in_float(t, k, count_of<1>{});
  });
}

// x: [m, depth] of T; out: [m, n] of O; activation: what happens to a vector of results before it is stored.
template <class CODE, int GROUP, bool OFFSET, class T, class S, class B, class O, class F>
void product(const T* x, const uint8_t* codes, const S* scale, const S* offset, const B* bias, O* out, int64_t m, int64_t n,
             int64_t depth, char* workspace, int most_threads, const F& activation) {
  const int64_t tile_bytes = depth / CHUNK * 64 * CODE::BITS, groups = depth / GROUP, count = ceil_div(n, ROWS);
  auto put_tile = [&](int64_t tile, int64_t row, vf v) {
    const int lanes = int(min<int64_t>(ROWS, n - tile * ROWS));
    if (bias) v += load(bias + tile * ROWS, lanes);
    store(out + row * n + tile * ROWS, activation(v), lanes);
  };
  auto in_float = [&]<int M>(int64_t tile, int64_t row, count_of<M>) {
    const T* rows[M];
    for (int k = 0; k < M; ++k) rows[k] = x + (row + k) * depth;
    plain_tile<CODE, GROUP, OFFSET, M>(codes + tile * tile_bytes, scale + tile * groups * ROWS,
                                       OFFSET ? offset + tile * groups * ROWS : nullptr, depth, rows,
                                       [&](int k, vf v) { put_tile(tile, row + k, v); });
  };
  const int64_t work = m * n * depth;
  const int threads = work < SMALL ? 1 : min(most_threads, max_threads());
  auto tiled = [&]<class WAY>(WAY) {
    by_tiles<WAY>(x, codes, scale, offset, m, count, depth, tile_bytes, groups, workspace, threads, put_tile, in_float);
  };
  if constexpr (is_exact<CODE, GROUP>) {
    tiled(Exact<CODE, GROUP, OFFSET>{});
  } else if constexpr (HAS_PERMUTES) {
    tiled(Looked<CODE, GROUP, OFFSET>{});
  } else {
    parallel_upto(threads, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) {
        int64_t row = 0;
        for (; row + 4 <= m; row += 4) in_float(tile, row, count_of<4>{});
        for (; row < m; ++row) in_float(tile, row, count_of<1>{});
      }
    });
  }
}

}  // namespace kw::lowbit
