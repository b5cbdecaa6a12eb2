// Reductions over pairs of points: out_i = reduce over j of f(<x_i, z_j>, |x_i - z_j|^2, ...) without holding the matrix.
//
// Lanes are rows i. A tile of LANES rows by COLUMNS columns goes through three steps and never leaves the first cache:
// inner products and squared distances by a micro-kernel whose whole result stays in registers, the formula on vectors,
// and the reduction. Squared distances of few coordinates are sums of squared differences. Those of many are
// |x|^2 + |z|^2 - 2 <x, z>, a third less work; where that cancels more than three bits (close points, points far from the
// origin, infinities) the strip is done again by differences.
//
// Points z are packed once for all threads, points x for a group of rows that stays in the second cache while all
// columns pass by. A formula F is generated: its type T, which pairs of points it reads (SET, DISTANCE), how many values
// by row, by column and for all, and value().
#pragma once
#include <kw/math.h>
#include <kw/pack.h>

namespace kw {
namespace pairwise {

constexpr int PANEL = 12;           // columns of a micro-kernel
constexpr int COLUMNS = 4 * PANEL;  // columns of a tile
constexpr int LANES = 32;           // rows of a tile
constexpr int64_t GROUP = 1024;     // rows that a thread takes at a time, at most
constexpr int64_t HELD = 384 << 10; // bytes of packed points and of results of a group, so that they stay in the second cache

constexpr int64_t MANY = 16;        // coordinates from which distances go through inner products
constexpr int CLOSE = 8;            // |x|^2 + |z|^2 may be so many times the distance

template <class T>
constexpr int VECTORS = sizeof(T) == 4 ? LANES / W : 1;  // of a micro-kernel's rows
template <class T>
constexpr int STRIP = VECTORS<T> * W;  // rows of a micro-kernel

constexpr int64_t padded(int64_t size, int64_t step) { return (size + step - 1) / step * step; }

// Points of one set, as the caller holds them: [n][depth] and [m][depth].
template <class T>
struct Points {
  const T *x, *z;
  int64_t depth;
};

// tile[column][row] = inner product or squared distance of the rows packed at x [depth][LANES] with the columns packed at
// z [depth][PANEL].
template <class T, bool DISTANCE>
KW_ONCE void micro(int64_t depth, const T* KW_RESTRICT x, const T* KW_RESTRICT z, T* KW_RESTRICT tile) {
  typedef vec_t<T> V;
  constexpr int NV = VECTORS<T>;
  V acc[PANEL][NV];
#pragma GCC unroll 16
  for (int j = 0; j < PANEL; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[j][v] = V{};
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; ++k, x += LANES, z += PANEL) {
    V a[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) a[v] = load(x + v * W);
#pragma GCC unroll 16
    for (int j = 0; j < PANEL; ++j) {
      V b = splat<V>(z[j]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        if constexpr (DISTANCE) {
          V t = a[v] - b;
          acc[j][v] = acc[j][v] + t * t;
        } else {
          acc[j][v] = acc[j][v] + a[v] * b;
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < PANEL; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store(tile + j * LANES + v * W, acc[j][v]);
}

// to[i] = |p_i|^2, for the points as they lie.
template <class T>
KW_ONCE void lengths(T* KW_RESTRICT to, const T* KW_RESTRICT p, int64_t count, int64_t depth) {
  typedef vec_t<T> V;
  for (int64_t i = 0; i < count; ++i, p += depth) {
    V acc{};
    int64_t k = 0;
    for (; k + W <= depth; k += W) {
      V a = load(p + k);
      acc = acc + a * a;
    }
    T total = 0;
    for (; k < depth; ++k) total += p[k] * p[k];
    for (int lane = 0; lane < W; ++lane) total += acc[lane];
    to[i] = total;
  }
}

// A strip of inner products becomes squared distances, for `count` columns. False where they cancel too much.
template <class T>
KW_ONCE bool distances(T* KW_RESTRICT tile, const T* KW_RESTRICT x, const T* KW_RESTRICT z, int64_t count) {
  typedef vec_t<T> V;
  constexpr int NV = VECTORS<T>;
  V left[NV];
  vi bad[NV] = {};
  for (int v = 0; v < NV; ++v) left[v] = load(x + v * W);
  for (int64_t j = 0; j < count; ++j, tile += LANES) {
    V right = splat<V>(z[j]);
    for (int v = 0; v < NV; ++v) {
      V both = left[v] + right, s = both - load(tile + v * W) * T(2);
      bad[v] |= ~ge(s * T(CLOSE) - both, V{});  // also NaN, and infinity less infinity
      store(tile + v * W, s);
    }
  }
  vi some = bad[0];
  for (int v = 1; v < NV; ++v) some |= bad[v];
  return !any(some);
}

// `count` points from p on, WIDE at a time: dst[panel][k][WIDE]. What is missing in the last panel repeats the last point.
template <int WIDE, class T>
KW_ONCE void pack(T* KW_RESTRICT dst, const T* KW_RESTRICT p, int64_t count, int64_t depth) {
  for (int64_t at = 0; at < count; at += WIDE, dst += WIDE * depth) {
    const T* from[WIDE];
    for (int i = 0; i < WIDE; ++i) from[i] = p + min<int64_t>(at + i, count - 1) * depth;
    for (int64_t k = 0; k < depth; ++k)
      for (int i = 0; i < WIDE; ++i) dst[k * WIDE + i] = from[i][k];
  }
}

// What a call is about. `row` and `col` are vectors of n and m values; z is packed already.
template <class F>
struct Call {
  typedef typename F::T T;
  Points<T> points[F::SETS];
  const T* row[F::ROWS + 1];
  const T* col[F::COLS + 1];
  const T* param;
  int64_t n, m;
  T* packed[F::SETS];   // [ceil(m / PANEL)][depth][PANEL]
  T* lengths[F::SETS];  // [m]: |z|^2, of sets with many coordinates
};

// The values of the formula for one tile, pair by pair, in the first cache.
template <class F>
struct Tile {
  typedef typename F::T T;
  typedef vec_t<T> V;
  static constexpr int NV = LANES / W;
  alignas(64) T leaf[F::PAIRS][COLUMNS * LANES];
  int close = 0;  // how many more strips than not had to be done again

  // Inner products and distances of the block packed at x[set] with columns [j, j + count); `length` is |x|^2.
  KW_INLINE void fill(const Call<F>& call, const T* const* x, const T* const* length, int64_t j, int64_t count) {
    for (int p = 0; p < F::PAIRS; ++p) {
      const int set = F::SET[p];
      const int64_t depth = call.points[set].depth;
      const T* z = call.packed[set] + j * depth;
      for (int64_t c = 0; c < count; c += PANEL, z += PANEL * depth)
        for (int s = 0; s < LANES; s += STRIP<T>) {
          T* to = leaf[p] + c * LANES + s;
          if (!F::DISTANCE[p] || (depth >= MANY && close < 16)) {
            micro<T, false>(depth, x[set] + s, z, to);
            if (!F::DISTANCE[p]) continue;
            if (distances(to, length[set] + s, call.lengths[set] + j + c, min<int64_t>(PANEL, count - c))) {
              close -= close > 0;
              continue;
            }
            ++close;
          }
          micro<T, true>(depth, x[set] + s, z, to);
        }
    }
  }

  // use(column, vector, value) for all of them.
  template <class Use>
  KW_INLINE void each(const Call<F>& call, const T* const* row, int64_t j, int64_t count, const Use& use) const {
    V param[F::PARAMS + 1];
    for (int k = 0; k < F::PARAMS; ++k) param[k] = splat<V>(call.param[k]);
    V left[F::ROWS + 1][NV];
    for (int k = 0; k < F::ROWS; ++k)
      for (int v = 0; v < NV; ++v) left[k][v] = load(row[k] + v * W);
    for (int64_t c = 0; c < count; ++c) {
      V right[F::COLS + 1];
      for (int k = 0; k < F::COLS; ++k) right[k] = splat<V>(call.col[k][j + c]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        V pair[F::PAIRS + 1], mine[F::ROWS + 1];
        for (int p = 0; p < F::PAIRS; ++p) pair[p] = load(leaf[p] + c * LANES + v * W);
        for (int k = 0; k < F::ROWS; ++k) mine[k] = left[k][v];
        use(c, v, F::value(pair, mine, right, param));
      }
    }
  }
};

// ── the walk over all tiles ────────────────────────────────────────────────────────────────────────────────────────
template <class F>
KW_INLINE int64_t depth_of(const Call<F>& call) {
  int64_t total = F::ROWS + F::SETS;
  for (int s = 0; s < F::SETS; ++s) total += call.points[s].depth;
  return total;
}

// Rows of a group, and the bytes that one thread needs for it.
template <class F>
KW_INLINE int64_t group_rows(const Call<F>& call, int64_t kept, int threads) {
  const int64_t bytes = (depth_of(call) * LANES + kept) * int64_t(sizeof(typename F::T)) / LANES;
  int64_t rows = min(GROUP, HELD / max<int64_t>(bytes, 1));
  rows = min(rows, ceil_div(call.n, 4 * threads));  // so that threads that are held up find others doing their share
  return max<int64_t>(LANES, rows / LANES * LANES);
}

template <class F, class Reduce>
KW_INLINE void run(Call<F>& call, const Reduce& reduce, char* workspace, int threads) {
  typedef typename F::T T;
  T* at = reinterpret_cast<T*>(workspace);
  const int64_t panels = ceil_div(call.m, PANEL);
  for (int s = 0; s < F::SETS; ++s) {
    call.packed[s] = at;
    at += padded(panels * PANEL * call.points[s].depth, 16);
    call.lengths[s] = at;
    at += padded(call.m, 16);
  }
  if (threads > 1 && call.n * call.m * depth_of(call) < (1 << 18)) threads = 1;
  parallel(threads, [&](int thread, int count) KW_ONCE {
    const int64_t first = panels * thread / count, last = panels * (thread + 1) / count;
    for (int s = 0; s < F::SETS; ++s) {
      const int64_t depth = call.points[s].depth, from = first * PANEL;
      const int64_t points = min(last * PANEL, call.m) - from;
      if (points <= 0) continue;
      pack<PANEL>(call.packed[s] + from * depth, call.points[s].z + from * depth, points, depth);
      if (depth >= MANY) lengths(call.lengths[s] + from, call.points[s].z + from * depth, points, depth);
    }
  });
  const int64_t rows = group_rows(call, reduce.size(), threads), blocks = rows / LANES;
  const int64_t groups = ceil_div(call.n, rows), each = padded(depth_of(call) * rows + reduce.size() * blocks, 16);
  int64_t next = 0;
  parallel(threads, [&](int thread, int) KW_ONCE {
    if constexpr (requires { reduce.start(thread); }) reduce.start(thread);
    T* mine = at + thread * each;
    T* const kept = mine;
    mine += reduce.size() * blocks;
    T *x[F::SETS], *length[F::SETS];
    for (int s = 0; s < F::SETS; ++s) {
      x[s] = mine, mine += call.points[s].depth * rows;
      length[s] = mine, mine += rows;
    }
    T* row[F::ROWS + 1];
    for (int k = 0; k < F::ROWS; ++k) row[k] = mine, mine += rows;
    Tile<F> tile;
    for (;;) {
      const int64_t i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) * rows;
      if (i >= call.n) break;
      const int64_t here = min(rows, call.n - i), used = ceil_div(here, LANES);
      for (int s = 0; s < F::SETS; ++s) {
        const int64_t depth = call.points[s].depth;
        pack<LANES>(x[s], call.points[s].x + i * depth, here, depth);
        if (depth < MANY) continue;
        lengths(length[s], call.points[s].x + i * depth, here, depth);
        for (int64_t a = here; a < used * LANES; ++a) length[s][a] = length[s][here - 1];
      }
      for (int k = 0; k < F::ROWS; ++k) pack<LANES>(row[k], call.row[k] + i, here, 1);
      for (int64_t b = 0; b < used; ++b) reduce.begin(kept + b * reduce.size());
      for (int64_t j = 0; j < call.m; j += COLUMNS) {
        const int64_t wide = min<int64_t>(COLUMNS, call.m - j);
        for (int64_t b = 0; b < used; ++b) {
          const T *strip[F::SETS], *norm[F::SETS];
          const T* values[F::ROWS + 1];
          for (int s = 0; s < F::SETS; ++s) {
            strip[s] = x[s] + b * LANES * call.points[s].depth;
            norm[s] = length[s] + b * LANES;
          }
          for (int k = 0; k < F::ROWS; ++k) values[k] = row[k] + b * LANES;
          tile.fill(call, strip, norm, j, wide);
          reduce.add(call, values, j, wide, tile, kept + b * reduce.size(), i + b * LANES, thread);
        }
      }
      for (int64_t b = 0; b < used; ++b)
        reduce.end(i + b * LANES, min<int64_t>(LANES, here - b * LANES), kept + b * reduce.size());
    }
  });
  if constexpr (requires { reduce.finish(threads); }) reduce.finish(threads);
}

}  // namespace pairwise
}  // namespace kw
