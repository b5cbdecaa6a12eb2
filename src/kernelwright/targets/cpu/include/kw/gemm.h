// Contractions as blocked matrix products, C[m,n] += A[m,k] * B[k,n], whatever the operands' layouts.
//
// Packers (kw/pack.h) bring operands into panels that the micro-kernel streams: A panels are [k][MR], B panels are
// [k][NV vectors]. The micro-kernel keeps an MR x NV tile of C in registers; a tile that has seen all of K goes to
// `finish`, generated code that applies the epilogue and stores.
#pragma once
#include <kw/pack.h>

namespace kw {
namespace gemm {

// ── micro-kernel ───────────────────────────────────────────────────────────────────────────────────────────────────
// tile[MR][NV vectors] (+)= a[kc][MR] * b[kc][NV vectors]; only the first USE vectors of each row of b and tile.
template <class T, int MR, int NV, int USE>
KW_ONCE void micro(int64_t kc, const T* KW_RESTRICT a, int pitch, const T* KW_RESTRICT b,
                                     T* KW_RESTRICT tile, bool add) {
  constexpr int L = Lanes<T>::L;
  V<T> acc[MR][USE];
  if (add) {
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < USE; ++j) acc[i][j] = *reinterpret_cast<const V<T>*>(tile + (i * NV + j) * L);
  } else {
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < USE; ++j) acc[i][j] = V<T>{};
  }
  for (int64_t k = 0; k < kc; ++k) {
    V<T> bv[USE];
#pragma GCC unroll 8
    for (int j = 0; j < USE; ++j) bv[j] = *reinterpret_cast<const V<T>*>(b + j * L);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      V<T> av = same(a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < USE; ++j) acc[i][j] += av * bv[j];
    }
    a += pitch;
    b += NV * L;
  }
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < USE; ++j) *reinterpret_cast<V<T>*>(tile + (i * NV + j) * L) = acc[i][j];
}

// What the generated code fixes: MR x NV the register tile; MREST rows in the last row panel (MR if unknown or even);
// HALF whether the last column panel may need only its first vector.
template <class Element, int MR_, int NV_, int MREST_ = MR_, bool HALF_ = false>
struct Tile {
  typedef Element T;
  static constexpr int MR = MR_, NV = NV_, MREST = MREST_, L = Lanes<T>::L, NR = NV_ * L, AREA = MR_ * NR;
  static constexpr bool HALF = HALF_ && NV_ > 1;

  static KW_INLINE void run(int64_t kc, const T* a, const T* b, T* tile, bool add, int rows, int columns) {
    if constexpr (MREST != MR) {
      if (rows < MR) return micro<T, MREST, NV, NV>(kc, a, MR, b, tile, add);
    }
    if constexpr (HALF) {
      if (columns <= L) return micro<T, MR, NV, 1>(kc, a, MR, b, tile, add);
    }
    micro<T, MR, NV, NV>(kc, a, MR, b, tile, add);
  }
};

// Sizes of the product and of its blocks: kc steps, nc columns (whole panels), mc rows (whole panels).
struct Shape {
  int64_t batch, m, n, k;
  int64_t kc, nc, mc;
};

// The buffers of one thread in the scratch memory: an A panel, a B block, `tiles` partial tiles. The generated code sizes
// the scratch by the same formula (cpp/_gemm.py).
template <class Tl>
struct Buffers {
  typedef typename Tl::T T;
  T *a, *b, *partial;

  static int64_t elements(const Shape& s, int64_t tiles) {
    return ceil_div(s.kc * Tl::MR, 16) * 16 + s.kc * s.nc + tiles * Tl::AREA + 64;
  }
  Buffers(T* base, const Shape& s)
      : a(base), b(a + ceil_div(s.kc * Tl::MR, 16) * 16), partial(b + s.kc * s.nc) {}
};

// ── one block: columns [n0, n1) panels x rows [m0, m1) panels, all of K ────────────────────────────────────────────
// pack_a(thread, batch, panel, k0, kc, dst) and pack_b(thread, batch, k0, kc, n0, n, dst) fill panels; `packed` (or null)
// holds A panels already: [k block][panel][kc][MR] from panel m0 on, `packed_panels` of them per k block.
template <class Tl, class PackA, class PackB, class Finish>
KW_INLINE void block(const Shape& s, int thread, int64_t batch, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                     const typename Tl::T* packed, int64_t packed_panels, Buffers<Tl> buf,
                     const PackA& pack_a, const PackB& pack_b, const Finish& finish) {
  typedef typename Tl::T T;
  int64_t columns = min(s.n, n1 * Tl::NR) - n0 * Tl::NR;
  bool single = s.k <= s.kc;
  for (int64_t k = 0;; k += s.kc) {
    int64_t kc = min(s.kc, s.k - k);
    bool last = k + s.kc >= s.k;
    if (kc) pack_b(thread, batch, k, kc, n0 * Tl::NR, columns, buf.b);
    for (int64_t p = m0; p < m1; ++p) {
      const T* a = packed + ((k / s.kc) * packed_panels * s.kc + (p - m0) * kc) * Tl::MR;
      if (!packed) {
        if (kc) pack_a(thread, batch, p, k, kc, buf.a);
        a = buf.a;
      }
      int rows = static_cast<int>(min<int64_t>(Tl::MR, s.m - p * Tl::MR));
      for (int64_t q = n0; q < n1; ++q) {
        alignas(64) T local[Tl::AREA];
        T* tile = single ? local : buf.partial + ((p - m0) * (n1 - n0) + q - n0) * Tl::AREA;
        int width = static_cast<int>(min<int64_t>(Tl::NR, s.n - q * Tl::NR));
        Tl::run(kc, a, buf.b + (q - n0) * kc * Tl::NR, tile, k > 0, rows, width);
        if (last) finish(batch, tile, p * Tl::MR, rows, q * Tl::NR, width);
      }
    }
    if (last) break;
  }
}

// ── drivers ────────────────────────────────────────────────────────────────────────────────────────────────────────
// Whether splitting row panels leaves the threads better balanced than splitting (batch x column panels).
KW_INLINE bool rows_balance(int64_t units, int64_t row_panels, int threads) {
  double columns = double(ceil_div(units, threads)) * threads / max<int64_t>(units, 1);
  double rows = double(ceil_div(row_panels, threads)) * threads / max<int64_t>(row_panels, 1);
  return columns > rows * 1.08;
}

// Threads split (batch x column panels) evenly, or the row panels where that balances better. SHARED: A is the same for
// every batch, so all threads pack it together, chunk by chunk, and then share it; unless each panel of A is needed only
// once per thread: then it is packed on the spot, while it is in the nearest cache, and the longer side is split.
template <class Tl, bool SHARED, class Enter, class PackA, class PackB, class Finish>
KW_INLINE void product(const Shape& s, int threads, char* scratch, const Enter& enter, const PackA& pack_a,
                       const PackB& pack_b, const Finish& finish) {
  typedef typename Tl::T T;
  int64_t row_panels = ceil_div(s.m, Tl::MR), column_panels = ceil_div(s.n, Tl::NR), block_panels = s.nc / Tl::NR;
  int64_t chunk = max<int64_t>(1, s.mc / Tl::MR), k_blocks = ceil_div(s.k, s.kc);
  int64_t units = s.batch * column_panels;
  bool once = units <= block_panels * threads && row_panels <= chunk * threads;
  bool split_rows = threads > 1 && (rows_balance(units, row_panels, threads) ||
                                    (once && s.batch == 1 && s.m > s.n && units <= block_panels &&
                                     !rows_balance(row_panels, units, threads)));
  bool shared = SHARED && !split_rows && !once;
  int64_t partials = s.k > s.kc ? min(chunk, row_panels) * min(block_panels, column_panels) : 0;
  int64_t per_thread = Buffers<Tl>::elements(s, partials);
  T* base = reinterpret_cast<T*>(scratch);
  parallel(threads, [&](int thread, int count) KW_ONCE {
    Buffers<Tl> buf(base + thread * per_thread, s);
    T* packed = shared ? base + count * per_thread : nullptr;
    int64_t j0 = split_rows ? 0 : units * thread / count, j1 = split_rows ? units : units * (thread + 1) / count;
    int64_t r0 = split_rows ? row_panels * thread / count : 0;
    int64_t r1 = split_rows ? row_panels * (thread + 1) / count : row_panels;
    for (int64_t m0 = r0; m0 < r1; m0 += chunk) {
      int64_t m1 = min(m0 + chunk, r1);
      if (shared) {
        if (m0 > r0) barrier(count);
        int64_t items = (m1 - m0) * k_blocks;
        for (int64_t i = items * thread / count; i < items * (thread + 1) / count; ++i) {
          int64_t k0 = i / (m1 - m0) * s.kc, p = i % (m1 - m0), kc = min(s.kc, s.k - k0);
          pack_a(thread, 0, m0 + p, k0, kc, packed + (k0 * (m1 - m0) + p * kc) * Tl::MR);
        }
        barrier(count);
      }
      int64_t entered = -1;
      for (int64_t j = j0; j < j1;) {
        int64_t batch = j / column_panels, n0 = j % column_panels, span = min(column_panels - n0, j1 - j);
        int64_t n1 = n0 + ceil_div(span, ceil_div(span, block_panels));
        if (batch != entered) enter(thread, entered = batch);
        block<Tl>(s, thread, batch, m0, m1, n0, n1, packed, m1 - m0, buf, pack_a, pack_b, finish);
        j += n1 - n0;
      }
    }
  });
}

// Few results, long sums: threads split K, then add their partial tiles. N fits one block.
template <class Tl, class PackA, class PackB, class Finish>
KW_INLINE void product_split_k(const Shape& s, int threads, char* scratch, const PackA& pack_a, const PackB& pack_b,
                               const Finish& finish) {
  typedef typename Tl::T T;
  int64_t row_panels = ceil_div(s.m, Tl::MR), column_panels = ceil_div(s.n, Tl::NR);
  int64_t k_blocks = ceil_div(s.k, s.kc), tiles = row_panels * column_panels;
  int64_t per_thread = Buffers<Tl>::elements(s, tiles);
  T* base = reinterpret_cast<T*>(scratch);
  parallel(threads, [&](int thread, int count) KW_ONCE {
    Buffers<Tl> buf(base + thread * per_thread, s);
    for (int64_t batch = 0; batch < s.batch; ++batch) {
      int64_t b0 = k_blocks * thread / count, b1 = k_blocks * (thread + 1) / count;
      for (int64_t i = b0; i < b1; ++i) {
        int64_t k = i * s.kc, kc = min(s.kc, s.k - k);
        if (kc <= 0) continue;
        pack_b(thread, batch, k, kc, 0, s.n, buf.b);
        for (int64_t p = 0; p < row_panels; ++p) {
          int rows = static_cast<int>(min<int64_t>(Tl::MR, s.m - p * Tl::MR));
          pack_a(thread, batch, p, k, kc, buf.a);
          for (int64_t q = 0; q < column_panels; ++q)
            Tl::run(kc, buf.a, buf.b + q * kc * Tl::NR, buf.partial + (p * column_panels + q) * Tl::AREA, i > b0, rows,
                    static_cast<int>(min<int64_t>(Tl::NR, s.n - q * Tl::NR)));
        }
      }
      if (b0 == b1 || s.k == 0)
        for (int64_t i = 0; i < tiles * Tl::AREA; ++i) buf.partial[i] = 0;
      barrier(count);
      for (int64_t i = tiles * thread / count; i < tiles * (thread + 1) / count; ++i) {
        alignas(64) T tile[Tl::AREA];
        for (int e = 0; e < Tl::AREA; ++e) {
          T sum = 0;
          for (int t = 0; t < count; ++t)
            sum += Buffers<Tl>(base + t * per_thread, s).partial[i * Tl::AREA + e];
          tile[e] = sum;
        }
        int64_t m = i / column_panels * Tl::MR, n = i % column_panels * Tl::NR;
        finish(batch, tile, m, static_cast<int>(min<int64_t>(Tl::MR, s.m - m)), n,
               static_cast<int>(min<int64_t>(Tl::NR, s.n - n)));
      }
      barrier(count);
    }
  });
}

}  // namespace gemm
}  // namespace kw
