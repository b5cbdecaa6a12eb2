// Contractions as blocked matrix products, C[m,n] += A[m,k] * B[k,n], whatever the operands' layouts.
//
// Packers (kw/pack.h) bring operands into panels that the micro-kernel (kw/micro.h) streams: A panels are [k][MR], B panels
// are [k][NV vectors]. A tile of C that has seen all of K goes to `finish`, generated code that applies the epilogue and
// stores.
#pragma once
#include <kw/micro.h>

namespace kw {
namespace gemm {

// What the generated code fixes: MR x NV the register tile; KC, NC most steps and columns of a block; HALF whether the last
// column panel may need only its first vector; RUNS in how many runs per vector B may lie to be packed in passing (0:
// packed first); ROWS whether A is read where it lies; DOT whether panels hold pairs of bfloat16 (a step is then a pair).
template <class Element, int MR_, int NV_, int KC_, int NC_, bool HALF_ = false, int RUNS_ = 0, bool ROWS_ = false,
          bool DOT_ = false>
struct Tile {
  typedef Element T;
  static constexpr int MR = MR_, NV = NV_, KC = KC_, NC = NC_, L = Lanes<T>::L, NR = NV_ * L, AREA = MR_ * NR;
  static constexpr bool HALF = HALF_ && NV_ > 1, ROWS = ROWS_, DOT = DOT_ && PAIRS;
  static constexpr int RUNS = MASKS && !DOT ? RUNS_ : 0, EACH = DOT ? 2 : 1;

  template <int USE, class B>
  static KW_INLINE void tile(int64_t kc, const T* a, int64_t stride, const B& b, T* tile, bool add) {
    if constexpr (ROWS) micro<T, MR, NV, USE, DOT, RowsA<T, MR>>(kc, a, stride, b, tile, add);
    else micro<T, MR, NV, USE, DOT, PanelA<T, MR>>(kc, a, MR, b, tile, add);
  }
  static KW_INLINE void run(int64_t kc, const T* a, int64_t stride, const T* b, T* to, bool add, int columns) {
    if constexpr (HALF) {
      if (columns <= L) return tile<1>(kc, a, stride, PanelB<T, NV>{b}, to, add);
    }
    tile<NV>(kc, a, stride, PanelB<T, NV>{b}, to, add);
  }
};

// Sizes of the product and of its blocks: kc steps, nc columns (whole panels), mc rows (whole panels). A step is one
// element of `depth`, or a pair of them.
struct Shape {
  int64_t batch, m, n, k, depth;
  int64_t kc, nc, mc;
};

// The steps [low, high) that a tile needs; of all tiles, unless the generated code knows better.
struct Steps {
  int64_t low, high;
};
struct AllSteps {
  KW_INLINE Steps operator()(int64_t, int64_t, int64_t, int64_t) const { return {0, INT64_MAX}; }
};

// Whether memory holds neither infinity nor NaN: nothing but a finite number times zero is zero.
template <class U>
KW_ONCE bool finite_bits(const U* p, int64_t n, U magnitude, U infinity) {
  U most = 0;
  for (int64_t i = 0; i < n; ++i) {
    U x = p[i] & magnitude;
    most = x > most ? x : most;
  }
  return most < infinity;
}
KW_INLINE bool finite_part(const float* p, int64_t n) {
  return finite_bits(reinterpret_cast<const uint32_t*>(p), n, uint32_t(0x7fffffff), uint32_t(0x7f800000));
}
KW_INLINE bool finite_part(const double* p, int64_t n) {
  return finite_bits(reinterpret_cast<const uint64_t*>(p), n, uint64_t(INT64_MAX), uint64_t(0x7ff0000000000000));
}
KW_INLINE bool finite_part(const bf16* p, int64_t n) {
  return finite_bits(reinterpret_cast<const uint16_t*>(p), n, uint16_t(0x7fff), uint16_t(0x7f80));
}
KW_INLINE bool finite_part(const f16* p, int64_t n) {
  return finite_bits(reinterpret_cast<const uint16_t*>(p), n, uint16_t(0x7fff), uint16_t(0x7c00));
}
template <class S>
KW_INLINE bool finite(const S* p, int64_t n, int threads) {
  bool all = true;
  parallel_for(n, threads > 1 ? 1 << 14 : n, [&](int64_t from, int64_t to) {
    if (!finite_part(p + from, to - from)) __atomic_store_n(&all, false, __ATOMIC_RELAXED);
  });
  return all;
}

// An operand: element p[offset + batch + free + k], `size` elements in all; `copy` apart, one for each thread. ALONG: see
// pack_group.
template <class S, bool ALONG_, int DB, int DF, int DK>
struct Operand {
  static constexpr bool ALONG = ALONG_;
  const S* p;
  int64_t copy, offset, size;
  Axes<DB> batch;
  Axes<DF> free;
  Axes<DK> k;

  KW_INLINE Source<S> source(int thread, int64_t b) const {
    int64_t base;
    batch.table(b, 1, &base);
    base += offset;
    return {p + thread * copy + base, -base, size - base};
  }
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

// The offsets of the steps [k0, k0 + kc), element by element; returns how many elements there are.
template <class Tl, class O>
KW_INLINE int64_t steps(const Shape& s, const O& operand, int64_t k0, int64_t kc, int64_t* step) {
  int64_t elements = min(kc * Tl::EACH, s.depth - k0 * Tl::EACH);
  operand.k.table(k0 * Tl::EACH, elements, step);
  return elements;
}

template <class Tl, bool ALONG, class S>
KW_INLINE void fill(typename Tl::T* to, int pitch, int64_t panel, Source<S> source, const int64_t* lane, int64_t n,
                    const int64_t* step, int64_t elements) {
  if constexpr (Tl::DOT) pack_pairs(to, pitch, panel, source, lane, n, step, elements);
  else pack<ALONG>(to, pitch, panel, source, lane, n, step, elements);
}

// Row panel p of A, packed or (ROWS) copied row by row.
template <class Tl, class A>
KW_INLINE void pack_rows(const Shape& s, const A& a, int thread, int64_t batch, int64_t p, const int64_t* step,
                         int64_t elements, typename Tl::T* to) {
  auto source = a.source(thread, batch);
  int64_t lane[Tl::MR], rows = min<int64_t>(Tl::MR, s.m - p * Tl::MR);
  a.free.table(p * Tl::MR, rows, lane);
  if constexpr (Tl::ROWS) {
    for (int i = 0; i < Tl::MR; ++i)
      for (int64_t k = 0; k < elements; ++k) to[i * elements + k] = source.p[lane[min<int64_t>(i, rows - 1)] + step[k]];
  } else {
    fill<Tl, A::ALONG>(to, Tl::MR, 0, source, lane, rows, step, elements);
  }
}

// ── one block: columns [n0, n1) panels x rows [m0, m1) panels, all of K ────────────────────────────────────────────
// `packed` (or null) holds A panels already: [k block][panel][kc][MR] from panel m0 on, `packed_panels` of them per block.
template <class Tl, class A, class B, class Finish, class StepsOf>
KW_INLINE void block(const Shape& s, int thread, int64_t batch, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                     const typename Tl::T* packed, int64_t packed_panels, Buffers<Tl> buf, const A& a, const B& b,
                     const Finish& finish, const StepsOf& steps_of) {
  typedef typename Tl::T T;
  int64_t columns = min(s.n, n1 * Tl::NR) - n0 * Tl::NR, lane[Tl::NC], step_a[Tl::KC * Tl::EACH];
  int64_t step_b[Tl::KC * Tl::EACH + StreamB<1, 1>::AHEAD];
  bool single = s.k <= s.kc, alone = m1 - m0 == 1;
  auto source = b.source(thread, batch);
  b.free.table(n0 * Tl::NR, columns, lane);
  for (int64_t k = 0;; k += s.kc) {
    int64_t kc = min(s.kc, s.k - k), elements_b = 0, elements_a = 0;
    bool last = k + s.kc >= s.k;
    if (kc) elements_b = steps<Tl>(s, b, k, kc, step_b);
    if constexpr (Tl::RUNS > 0)
      for (int i = 0; i < StreamB<1, 1>::AHEAD && kc; ++i) step_b[kc + i] = step_b[kc - 1];
    if (kc && !packed) elements_a = steps<Tl>(s, a, k, kc, step_a);
    if constexpr (!Tl::RUNS)
      if (kc) fill<Tl, B::ALONG>(buf.b, Tl::NR, kc * Tl::NR, source, lane, columns, step_b, elements_b);
    for (int64_t p = m0; p < m1; ++p) {
      int rows = static_cast<int>(min<int64_t>(Tl::MR, s.m - p * Tl::MR));
      const T* from = packed + ((k / s.kc) * packed_panels * s.kc + (p - m0) * kc) * Tl::MR;
      int64_t stride = kc;
      if (!packed) {
        from = buf.a;
        if constexpr (Tl::ROWS) {
          if (rows == Tl::MR) {
            stride = a.free.stride[0];
            from = a.source(thread, batch).p + p * Tl::MR * stride + k;
          }
        }
        if (kc && from == buf.a) pack_rows<Tl>(s, a, thread, batch, p, step_a, elements_a, buf.a);
      }
      for (int64_t q = n0; q < n1; ++q) {
        alignas(64) T local[Tl::AREA];
        T* tile = single ? local : buf.partial + ((p - m0) * (n1 - n0) + q - n0) * Tl::AREA;
        T* panel = buf.b + (Tl::RUNS && alone ? 0 : (q - n0) * kc * Tl::NR);
        int width = static_cast<int>(min<int64_t>(Tl::NR, s.n - q * Tl::NR));
        bool done = false;
        if constexpr (Tl::RUNS > 0) {
          if (p == m0 && kc) {
            const int64_t* at = lane + (q - n0) * Tl::NR;
            StreamB<Tl::NV, Tl::RUNS> stream;
            stream.open(source.p, at, width, step_b, panel);
            Tl::template tile<Tl::NV>(kc, from, stride, stream, tile, k > 0);
            done = true;
          }
        }
        if constexpr (__is_same(StepsOf, AllSteps)) {
          if (!done) Tl::run(kc, from, stride, panel, tile, k > 0, width);
        } else {
          Steps needed = steps_of(p * Tl::MR, p * Tl::MR + rows - 1, q * Tl::NR, q * Tl::NR + width - 1);
          int64_t low = max(needed.low - k, int64_t(0)), high = min(needed.high - k, kc);
          if (low < high) Tl::run(high - low, from + low * Tl::MR, stride, panel + low * Tl::NR, tile, k > 0, width);
          else if (k == 0)
            for (int e = 0; e < Tl::AREA; ++e) tile[e] = 0;
        }
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
// BY_ROWS: columns differ in how many steps they need, rows do not.
template <class Tl, bool SHARED, bool BY_ROWS = false, class Enter, class A, class B, class Finish,
          class StepsOf = AllSteps>
KW_INLINE void product(const Shape& s, int threads, char* scratch, const Enter& enter, const A& a,
                       const B& b, const Finish& finish, const StepsOf& steps_of = {}) {
  typedef typename Tl::T T;
  int64_t row_panels = ceil_div(s.m, Tl::MR), column_panels = ceil_div(s.n, Tl::NR), block_panels = s.nc / Tl::NR;
  int64_t chunk = max<int64_t>(1, s.mc / Tl::MR), k_blocks = ceil_div(s.k, s.kc);
  int64_t units = s.batch * column_panels;
  bool once = units <= block_panels * threads && row_panels <= chunk * threads;
  bool split_rows = threads > 1 && (BY_ROWS || rows_balance(units, row_panels, threads) ||
                                    (once && s.batch == 1 && s.m > s.n && units <= block_panels &&
                                     !rows_balance(row_panels, units, threads)));
  bool shared = SHARED && !Tl::ROWS && !split_rows && !once;
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
          int64_t k0 = i / (m1 - m0) * s.kc, p = i % (m1 - m0), kc = min(s.kc, s.k - k0), step[Tl::KC * Tl::EACH];
          int64_t elements = steps<Tl>(s, a, k0, kc, step);
          pack_rows<Tl>(s, a, thread, 0, m0 + p, step, elements, packed + (k0 * (m1 - m0) + p * kc) * Tl::MR);
        }
        barrier(count);
      }
      int64_t entered = -1;
      for (int64_t j = j0; j < j1;) {
        int64_t batch = j / column_panels, n0 = j % column_panels, span = min(column_panels - n0, j1 - j);
        int64_t n1 = n0 + ceil_div(span, ceil_div(span, block_panels));
        if (batch != entered) enter(thread, entered = batch);
        block<Tl>(s, thread, batch, m0, m1, n0, n1, packed, m1 - m0, buf, a, b, finish, steps_of);
        j += n1 - n0;
      }
    }
  });
}

// Few results, long sums: threads split K, then add their partial tiles. N fits one block.
template <class Tl, class A, class B, class Finish>
KW_INLINE void product_split_k(const Shape& s, int threads, char* scratch, const A& a, const B& b,
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
        int64_t lane[Tl::NC], step[Tl::KC * Tl::EACH], elements = steps<Tl>(s, b, k, kc, step);
        b.free.table(0, s.n, lane);
        fill<Tl, B::ALONG>(buf.b, Tl::NR, kc * Tl::NR, b.source(thread, batch), lane, s.n, step, elements);
        steps<Tl>(s, a, k, kc, step);
        for (int64_t p = 0; p < row_panels; ++p) {
          pack_rows<Tl>(s, a, thread, batch, p, step, elements, buf.a);
          for (int64_t q = 0; q < column_panels; ++q)
            Tl::run(kc, buf.a, kc, buf.b + q * kc * Tl::NR, buf.partial + (p * column_panels + q) * Tl::AREA, i > b0,
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
