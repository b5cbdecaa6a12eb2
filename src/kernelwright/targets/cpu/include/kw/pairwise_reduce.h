// Reductions of kw/pairwise.h: what is kept of a block of LANES rows while columns pass by. begin() and end() frame a
// block of rows, add() takes a tile; start() and finish() frame a whole thread and a whole call, where there are any.
#pragma once
#include <kw/pairwise.h>

namespace kw {
namespace pairwise {

// Weighted sums. Each tile is summed on its own before it is added, so that the sum's error does not grow with m itself.
template <class F>
struct Sum {
  typedef typename F::T T;
  typedef vec_t<T> V;
  static constexpr int NV = LANES / W, RHS = VECTORS<T> == 1 ? 6 : 12;
  const T* v;  // [m][r]
  int64_t r;
  T* out;  // [n][r]

  KW_INLINE int64_t size() const { return r * LANES; }  // values kept for a block, [r][LANES]
  KW_INLINE void begin(T* kept) const {
    for (int64_t k = 0; k < size(); ++k) kept[k] = 0;
  }
  KW_INLINE void add(const Call<F>& call, const T* const* row, int64_t j, int64_t count, Tile<F>& tile, T* kept, int64_t, int) const {
    if (r == 1) {
      V acc[NV] = {};
      tile.each(call, row, j, count, [&](int64_t c, int at, V value) { acc[at] = acc[at] + value * splat<V>(v[j + c]); });
      for (int at = 0; at < NV; ++at) store(kept + at * W, load(kept + at * W) + acc[at]);
      return;
    }
    T* values = tile.leaf[0];
    tile.each(call, row, j, count, [&](int64_t c, int at, V value) { store(values + c * LANES + at * W, value); });
    int64_t q = 0;
    for (; q + RHS <= r; q += RHS) columns<RHS>(values, j, count, q, kept);
    for (; q + 4 <= r; q += 4) columns<4>(values, j, count, q, kept);
    for (; q < r; ++q) columns<1>(values, j, count, q, kept);
  }
  template <int Q>
  KW_ONCE void columns(const T* values, int64_t j, int64_t count, int64_t q, T* kept) const {
    V acc[Q][NV] = {};
    const T* w = v + j * r + q;
#pragma GCC unroll 1
    for (int64_t c = 0; c < count; ++c, w += r, values += LANES) {
      V a[NV];
#pragma GCC unroll 4
      for (int at = 0; at < NV; ++at) a[at] = load(values + at * W);
#pragma GCC unroll 16
      for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int at = 0; at < NV; ++at) acc[i][at] = acc[i][at] + a[at] * splat<V>(w[i]);
    }
    kept += q * LANES;
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
      for (int at = 0; at < NV; ++at)
        store(kept + i * LANES + at * W, load(kept + i * LANES + at * W) + acc[i][at]);
  }
  KW_INLINE void end(int64_t i, int64_t rows, const T* kept) const {
    for (int64_t a = 0; a < rows; ++a)
      for (int64_t q = 0; q < r; ++q) out[(i + a) * r + q] = kept[q * LANES + a];
  }
};

// Sums both ways, for one right-hand side: out = f v and back = f^T u, of which each value is computed once. What a column
// has received so far stays a vector of partial sums until its thread ends.
template <class F>
struct Both {
  typedef typename F::T T;
  typedef vec_t<T> V;
  static constexpr int NV = LANES / W;
  const T *v, *u;  // [m], [n]
  T *out, *back;   // [n], [m]
  T* partial;      // for each thread [m][W], then [m]
  int64_t n, m;

  KW_INLINE int64_t size() const { return LANES; }
  KW_INLINE void begin(T* kept) const {
    for (int a = 0; a < LANES; ++a) kept[a] = 0;
  }
  KW_INLINE T* of(int thread) const { return partial + thread * m * W; }
  KW_INLINE void start(int thread) const {
    for (T *p = of(thread), *last = p + m * W; p < last; p += W) store(p, V{});
  }
  KW_INLINE void add(const Call<F>& call, const T* const* row, int64_t j, int64_t count, Tile<F>& tile, T* kept, int64_t i,
                     int thread) const {
    alignas(64) T mine[LANES];
    for (int a = 0; a < LANES; ++a) mine[a] = i + a < n ? u[i + a] : T(0);
    V weight[NV], acc[NV] = {};
    for (int at = 0; at < NV; ++at) weight[at] = load(mine + at * W);
    T* to = of(thread) + j * W;
    const bool whole = i + LANES <= n;  // rows past the last repeat it, and 0 times infinity is no 0
    tile.each(call, row, j, count, [&](int64_t c, int at, V value) {
      acc[at] = acc[at] + value * splat<V>(v[j + c]);
      V given = value * weight[at];
      if (!whole) given = select(lt(iota(), splat<vi>(static_cast<int32_t>(n - i - at * W))), given, V{});
      store(to + c * W, load(to + c * W) + given);
    });
    for (int at = 0; at < NV; ++at) store(kept + at * W, load(kept + at * W) + acc[at]);
  }
  KW_INLINE void end(int64_t i, int64_t rows, const T* kept) const {
    for (int64_t a = 0; a < rows; ++a) out[i + a] = kept[a];
  }
  KW_INLINE void finish(int threads) const {
    for (int64_t j = 0; j < m; ++j) {
      T total = 0;
      for (int t = 0; t < threads; ++t) {
        V sum = load(of(t) + j * W);
        for (int lane = 0; lane < W; ++lane) total += sum[lane];
      }
      back[j] = total;
    }
  }
};

// The logarithm of the sum of exponentials: a maximum and a sum relative to it, for each row.
template <class F>
struct LogSumExp {
  typedef typename F::T T;
  typedef vec_t<T> V;
  static constexpr int NV = LANES / W;
  T* out;  // [n]

  KW_INLINE int64_t size() const { return 2 * LANES; }
  KW_INLINE void begin(T* kept) const {
    for (int a = 0; a < LANES; ++a) kept[a] = -__builtin_inf(), kept[LANES + a] = 0;
  }
  static KW_INLINE V shift(V top) { return select(isnan(top - top), V{}, top); }  // 0 for infinities and NaN
  KW_INLINE void add(const Call<F>& call, const T* const* row, int64_t j, int64_t count, Tile<F>& tile, T* kept, int64_t, int) const {
    T* values = tile.leaf[0];
    V top[NV], sum[NV];
    for (int at = 0; at < NV; ++at) top[at] = load(kept + at * W);
    tile.each(call, row, j, count, [&](int64_t c, int at, V value) {
      store(values + c * LANES + at * W, value);
      top[at] = maximum(top[at], value);
    });
    for (int at = 0; at < NV; ++at) {
      sum[at] = load(kept + LANES + at * W) * exp(load(kept + at * W) - shift(top[at]));
      store(kept + at * W, top[at]);
    }
    for (int64_t c = 0; c < count; ++c)
#pragma GCC unroll 4
      for (int at = 0; at < NV; ++at) sum[at] = sum[at] + exp(load(values + c * LANES + at * W) - shift(top[at]));
    for (int at = 0; at < NV; ++at) store(kept + LANES + at * W, sum[at]);
  }
  KW_INLINE void end(int64_t i, int64_t rows, const T* kept) const {
    alignas(64) T total[LANES];
    for (int a = 0; a < LANES; a += W) store(total + a, shift(load(kept + a)) + log(load(kept + LANES + a)));
    for (int64_t a = 0; a < rows; ++a) out[i + a] = total[a];
  }
};

// The K largest or smallest of each row with their columns, the best first; NaN counts as larger than everything.
template <class F, int K, bool LARGEST>
struct Best {
  typedef typename F::T T;
  typedef vec_t<T> V;
  static constexpr int NV = LANES / W;
  T* out;          // [n][K]
  int64_t* where;  // [n][K]

  static constexpr int STEP = K * LANES;
  KW_INLINE int64_t size() const { return STEP + (STEP * int64_t(sizeof(int32_t)) + sizeof(T) - 1) / sizeof(T); }
  KW_INLINE void begin(T*) const {}
  static KW_INLINE vi better(V a, V b) {
    if constexpr (LARGEST) return gt(a, b) | (isnan(a) & ~isnan(b));
    else return lt(a, b) | (isnan(b) & ~isnan(a));
  }
  static KW_INLINE bool better(T a, T b) {
    if constexpr (LARGEST) return a > b || (a != a && b == b);
    else return a < b || (b != b && a == a);
  }
  KW_INLINE void add(const Call<F>& call, const T* const* row, int64_t j, int64_t count, Tile<F>& tile, T* kept, int64_t, int) const {
    T* const worst = kept + STEP - LANES;
    V bound[NV];
    for (int at = 0; at < NV; ++at) bound[at] = load(worst + at * W);
    tile.each(call, row, j, count, [&](int64_t c, int at, V value) {
      const int64_t column = j + c, have = min<int64_t>(column, K);
      unsigned found = have < K ? 0xffff : bits(better(value, bound[at]));
      if (__builtin_expect(!found, 1)) return;
      alignas(64) T mine[W];
      store(mine, value);
      for (; found; found &= found - 1) insert(kept, at * W + __builtin_ctz(found), mine[__builtin_ctz(found)], column, have);
      bound[at] = load(worst + at * W);
    });
  }
  // Puts a value in its place among the `have` that a row holds; the last one drops out where there are K.
  static KW_INLINE void insert(T* kept, int lane, T value, int64_t column, int64_t have) {
    int32_t* columns = reinterpret_cast<int32_t*>(kept + STEP);
    int64_t k = have < K ? have : K - 1;
    for (; k > 0 && better(value, kept[(k - 1) * LANES + lane]); --k) {
      kept[k * LANES + lane] = kept[(k - 1) * LANES + lane];
      columns[k * LANES + lane] = columns[(k - 1) * LANES + lane];
    }
    kept[k * LANES + lane] = value;
    columns[k * LANES + lane] = static_cast<int32_t>(column);
  }
  KW_INLINE void end(int64_t i, int64_t rows, const T* kept) const {
    const int32_t* columns = reinterpret_cast<const int32_t*>(kept + STEP);
    for (int64_t a = 0; a < rows; ++a)
      for (int k = 0; k < K; ++k) {
        out[(i + a) * K + k] = kept[k * LANES + a];
        where[(i + a) * K + k] = columns[k * LANES + a];
      }
  }
};

// The matrix itself, its rows contiguous: what the walk calls rows are its columns here, so that lanes lie side by side.
template <class F>
struct Matrix {
  typedef typename F::T T;
  typedef vec_t<T> V;
  T* out;         // [m][n]
  int64_t pitch;  // n
  KW_INLINE int64_t size() const { return 0; }
  KW_INLINE void begin(T*) const {}
  KW_INLINE void end(int64_t, int64_t, const T*) const {}
  KW_INLINE void add(const Call<F>& call, const T* const* row, int64_t j, int64_t count, Tile<F>& tile, T*, int64_t i, int) const {
    tile.each(call, row, j, count, [&](int64_t c, int at, V value) {
      T* to = out + (j + c) * pitch + i + at * W;
      const int64_t left = pitch - i - at * W;
      if (left >= W) store(to, value);
      else if (left > 0) store_mask(to, value, first(static_cast<int>(left)));
    });
  }
};

}  // namespace pairwise
}  // namespace kw
