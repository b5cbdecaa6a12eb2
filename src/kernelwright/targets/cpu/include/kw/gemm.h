// Contractions as blocked matrix products, C[m,n] += A[m,k] * B[k,n], whatever the operands' layouts.
//
// Every operand is read as src[lane_offset + k_offset]: strides, transposition, fused axes and (after padding) the windows
// of a convolution are only other offset tables. Packers bring operands into panels that the micro-kernel streams:
// A panels are [k][MR], B panels are [k][NV vectors]. The micro-kernel keeps an MR x NV tile of C in registers; a tile
// that has seen all of K goes to `finish`, generated code that applies the epilogue and stores.
#pragma once
#include <kw/vec.h>

#ifndef KW_SERIAL
extern "C" void GOMP_barrier(void);
#endif

// One copy of a function, whatever the constants of its calls: these are compiled into every kernel.
#ifdef __clang__
#define KW_ONCE __attribute__((noinline))
#else
#define KW_ONCE __attribute__((noinline, noclone))
#endif

namespace kw {

// All threads of the surrounding kw::parallel meet here.
KW_INLINE void barrier(int threads) {
#ifndef KW_SERIAL
  if (threads > 1) GOMP_barrier();
#endif
}

namespace gemm {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  static constexpr int L = 16;
  typedef vf V;
};
template <>
struct Lanes<double> {
  static constexpr int L = 8;
  typedef vd8 V;
};
template <class T>
using V = typename Lanes<T>::V;
KW_INLINE vf same(float x) { return splat<vf>(x); }
KW_INLINE vd8 same(double x) { return vd8{x, x, x, x, x, x, x, x}; }

// ── offsets of fused axes ──────────────────────────────────────────────────────────────────────────────────────────
// Sizes and strides of axes fused into one, outermost first.
template <int D>
struct Axes {
  int64_t size[D], stride[D];

  // out[i] = offset of the fused coordinate start + i.
  KW_ONCE void table(int64_t start, int64_t n, int64_t* out) const {
    int64_t at[D], rest = start, offset = 0;
    for (int d = D - 1; d >= 0; --d) {
      at[d] = d ? rest % size[d] : rest;
      rest = d ? rest / size[d] : 0;
      offset += at[d] * stride[d];
    }
    for (int64_t i = 0; i < n;) {
      int64_t run = D > 1 ? min(n - i, size[D - 1] - at[D - 1]) : n;
      for (int64_t j = 0; j < run; ++j) out[i + j] = offset + j * stride[D - 1];
      i += run;
      if (i >= n) break;
      offset -= at[D - 1] * stride[D - 1];
      at[D - 1] = 0;
      for (int d = D - 2; d >= 0; --d) {
        offset += stride[d];
        if (++at[d] < size[d] || d == 0) break;
        offset -= at[d] * stride[d];
        at[d] = 0;
      }
    }
  }
};

// A readable operand: offsets in [lo, hi) relative to `p` are memory of the tensor.
template <class S>
struct Source {
  const S* p;
  int64_t lo, hi;
};

// ── packing ────────────────────────────────────────────────────────────────────────────────────────────────────────
KW_INLINE vf interleave_low(vf a, vf b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
KW_INLINE vf interleave_high(vf a, vf b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
// Four perfect shuffles transpose 16 x 16.
KW_INLINE void transpose(vf (&r)[16]) {
#pragma GCC unroll 4
  for (int stage = 0; stage < 4; ++stage) {
    vf t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      t[2 * i] = interleave_low(r[i], r[i + 8]);
      t[2 * i + 1] = interleave_high(r[i], r[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = t[i];
  }
}
KW_INLINE vf every_second(vf a, vf b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
}

// How sixteen lanes lie in memory: up to four runs of equal step, each read as one vector and blended.
struct Runs {
  static constexpr int MOST = 4;
  int count, step;
  int64_t at[MOST];  // offset of the run, moved back to lane 0
  vi from[MOST];     // lanes of this and later runs

  Runs(const int64_t* lane, int n) : count(0), step(n > 1 && lane[1] - lane[0] == 2 ? 2 : 1) {
    for (int i = 0; i < n; ++i) {
      if (i && lane[i] - lane[i - 1] == step) continue;
      if (count < MOST) {
        at[count] = lane[i] - i * step;
        from[count] = ~first(i);
      }
      ++count;
    }
  }
  // Whether every vector read lies inside the source for k offsets in [k_lo, k_hi].
  bool inside(int64_t lo, int64_t hi, int64_t k_lo, int64_t k_hi) const {
    for (int r = 0; r < count; ++r)
      if (at[r] + k_lo < lo || at[r] + k_hi + (step == 1 ? 16 : 31) > hi) return false;
    return true;
  }
};

template <int STEP, int COUNT, class S>
KW_INLINE void pack_runs(float* dst, int pitch, int slot, int width, const S* p, const Runs& runs, const int64_t* k,
                         int64_t kc) {
  vi valid = first(width), from[COUNT];
  int64_t at[COUNT];
#pragma GCC unroll 4
  for (int r = 0; r < COUNT; ++r) at[r] = runs.at[r], from[r] = runs.from[r];  // locals, so that stores cannot alias them
  for (int64_t i = 0; i < kc; ++i, dst += pitch) {
    vf v{};
#pragma GCC unroll 4
    for (int r = 0; r < COUNT; ++r) {
      const S* q = p + k[i] + at[r];
      vf x = load(q);
      if constexpr (STEP == 2) x = every_second(x, load(q + 15));
      v = r ? select(from[r], x, v) : x;
    }
    if (width == 16) store(dst, v);
    else if (slot == 16) store(dst, select(valid, v, vf{}));
    else store(dst, select(valid, v, vf{}), slot);
  }
}

// dst[i * pitch + lane] for i < run <= 16, where every lane's `run` elements are contiguous: a transposition.
template <class S>
KW_ONCE void pack_along_k(float* dst, int pitch, int slot, int width, const S* p, const int64_t* lane, int run) {
  vf rows[16];
  if (run == 16 && width == 16) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = load(p + lane[r]);
  } else {
    float all[16][16] = {};
#pragma GCC unroll 1
    for (int r = 0; r < width; ++r) store(all[r], load(p + lane[r], run));
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = load(all[r]);
  }
  transpose(rows);
  if (run == 16) {
    vi mask = first(slot);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) store_mask(dst + r * pitch, rows[r], mask);
    return;
  }
  float all[16][16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(all[r], rows[r]);
#pragma GCC unroll 1
  for (int r = 0; r < run; ++r) store(dst + r * pitch, load(all[r]), slot);
}

// One group of `slot` <= 16 lanes over kc steps: dst[i * pitch + lane]; lanes from `width` on become zero.
template <class S>
KW_ONCE void pack_group(float* dst, int pitch, int slot, int width, Source<S> src, const int64_t* lane,
                        const int64_t* k, int64_t kc) {
  Runs runs(lane, width);
  bool along_k = runs.count > 1 && kc >= 4 && k[1] - k[0] == 1 && k[2] - k[0] == 2 && k[3] - k[0] == 3;
  if (runs.count <= Runs::MOST && !(along_k && (runs.count > 2 || (kc >= 8 && k[7] - k[0] == 7)))) {
    int64_t k_lo = k[0], k_hi = k[0];
    for (int64_t i = 1; i < kc; ++i) {
      k_lo = min(k_lo, k[i]);
      k_hi = max(k_hi, k[i]);
    }
    if (runs.inside(src.lo, src.hi, k_lo, k_hi)) {
      int step = runs.step, count = runs.count;
      for (int r = count; r < 4; ++r) runs.at[r] = runs.at[0], runs.from[r] = vi{};
      if (step == 1 && count == 1) return pack_runs<1, 1>(dst, pitch, slot, width, src.p, runs, k, kc);
      if (step == 1 && count == 2) return pack_runs<1, 2>(dst, pitch, slot, width, src.p, runs, k, kc);
      if (step == 1) return pack_runs<1, 4>(dst, pitch, slot, width, src.p, runs, k, kc);
      if (count == 1) return pack_runs<2, 1>(dst, pitch, slot, width, src.p, runs, k, kc);
      return pack_runs<2, 4>(dst, pitch, slot, width, src.p, runs, k, kc);
    }
  }
  for (int64_t i = 0; i < kc;) {
    int run = 1;
    while (run < 16 && i + run < kc && k[i + run] - k[i] == run) ++run;
    if (along_k && run >= 3) {
      pack_along_k(dst + i * pitch, pitch, slot, width, src.p + k[i], lane, run);
      i += run;
      continue;
    }
    for (int j = 0; j < width; ++j) dst[i * pitch + j] = get(src.p + lane[j] + k[i]);
    for (int j = width; j < slot; ++j) dst[i * pitch + j] = 0;
    ++i;
  }
}

template <class S>
KW_ONCE void pack_group(double* dst, int pitch, int slot, int width, Source<S> src,
                                          const int64_t* lane, const int64_t* k, int64_t kc) {
  for (int64_t i = 0; i < kc; ++i, dst += pitch) {
    for (int j = 0; j < width; ++j) dst[j] = static_cast<double>(get(src.p + lane[j] + k[i]));
    for (int j = width; j < slot; ++j) dst[j] = 0;
  }
}

template <class S>
KW_INLINE void copy_lanes(float* d, const S* s) { store(d, load(s)); }
template <class S>
KW_INLINE void copy_lanes(double* d, const S* s) {
  for (int j = 0; j < 16; ++j) d[j] = static_cast<double>(get(s + j));
}

// Packs n lanes into panels of `pitch` lanes, `panel` elements apart; short panels are filled up with zeros.
template <class T, class S>
KW_ONCE void pack(T* dst, int pitch, int64_t panel, Source<S> src, const int64_t* lane, int64_t n,
                                    const int64_t* k, int64_t kc) {
  int64_t full = 0;  // lanes that are one contiguous run of whole groups: copied row by row, as memory likes it
  if (pitch % 16 == 0) {
    while (full < n && lane[full] - lane[0] == full) ++full;
    full = full < n ? 0 : full / 16 * 16;
  }
  if (full >= 32)
    for (int64_t i = 0; i < kc; ++i) {
      const S* s = src.p + lane[0] + k[i];
      T* d = dst + i * pitch;
      for (int64_t j = 0; j < full; j += pitch, d += panel)
        for (int g = 0; g < pitch && j + g < full; g += 16) copy_lanes(d + g, s + j + g);
    }
  else full = 0;
  for (int64_t j = full / pitch * pitch; j < n; j += pitch)
    for (int g = 0; g < pitch; g += 16) {
      if (j + g < full) continue;
      int slot = min(16, pitch - g), width = static_cast<int>(max<int64_t>(0, min<int64_t>(slot, n - j - g)));
      T* d = dst + j / pitch * panel + g;
      if (width > 0) {
        pack_group(d, pitch, slot, width, src, lane + j + g, k, kc);
      } else {
        for (int64_t i = 0; i < kc; ++i)
          for (int q = 0; q < slot; ++q) d[i * pitch + q] = 0;
      }
    }
}

// ── padding ────────────────────────────────────────────────────────────────────────────────────────────────────────
template <class S>
KW_INLINE void copy_row(float* d, const S* p, int64_t n, int64_t step) {
  int64_t i = 0;
  if (step == 1) {
    for (; i + 16 <= n; i += 16) store(d + i, load(p + i));
    if (i < n) store(d + i, load(p + i, int(n - i)), int(n - i));
    return;
  }
  for (; i < n; ++i) d[i] = get(p + i * step);
}
template <class S>
KW_INLINE void copy_row(double* d, const S* p, int64_t n, int64_t step) {
  for (int64_t i = 0; i < n; ++i) d[i] = static_cast<double>(get(p + i * step));
}

// Copies a window of a tensor whose coordinate d runs from start[d] to start[d] + extent[d]; what lies outside the
// tensor becomes `fill`, unless `borders` says that an earlier copy has written that. Rows (all dimensions but the last)
// [row0, row1) of the window are written.
template <int D, class T, class S>
KW_ONCE void pad(T* dst, const S* src, const int64_t (&extent)[D], const int64_t (&start)[D],
                                   const int64_t (&size)[D], const int64_t (&stride)[D], T fill, int64_t row0,
                                   int64_t row1, bool borders = true) {
  int64_t width = extent[D - 1], first_in = min(max<int64_t>(0, -start[D - 1]), width);
  int64_t last_in = max(first_in, min(width, size[D - 1] - start[D - 1])), step = stride[D - 1];
  int64_t at[D] = {}, rest = row0;
  for (int q = D - 2; q >= 0; --q) {
    at[q] = q ? rest % extent[q] : rest;
    rest /= extent[q];
  }
  for (int64_t row = row0; row < row1; ++row) {
    T* d = dst + row * width;
    int64_t offset = (start[D - 1] + first_in) * step;
    bool in = true;
    for (int q = D - 2; q >= 0; --q) {
      int64_t x = at[q] + start[q];
      in &= uint64_t(x) < uint64_t(size[q]);
      offset += x * stride[q];
    }
    int64_t from = in ? first_in : width, to = in ? last_in : width;
    if (borders)
      for (int64_t i = 0; i < from; ++i) d[i] = fill;
    if (from < to) copy_row(d + from, src + offset, to - from, step);
    if (borders)
      for (int64_t i = to; i < width; ++i) d[i] = fill;
    for (int q = D - 2; q >= 0; --q) {
      if (++at[q] < extent[q]) break;
      at[q] = 0;
    }
  }
}

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
