// Brings the operands of a contraction into panels: offset tables of fused axes, packers, padded copies.
//
// Every operand is read as src[lane_offset + k_offset]: strides, transposition, fused axes and (after padding) the windows
// of a convolution are only other offset tables.
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

// Whether masked vector loads cost what plain ones do.
#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr bool MASKS = true;
#else
constexpr bool MASKS = false;
#endif

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

// The least and the greatest offset of `n` steps.
struct Range {
  int64_t low, high;
  Range(const int64_t* k, int64_t n) : low(k[0]), high(k[0]) {
    for (int64_t i = 1; i < n; ++i) low = min(low, k[i]), high = max(high, k[i]);
  }
};

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
  // Whether every vector read for the k offsets lies inside the source.
  template <class S>
  bool inside(const Source<S>& source, Range k) const {
    for (int r = 0; r < count; ++r)
      if (at[r] + k.low < source.lo || at[r] + k.high + (step == 1 ? 16 : 31) > source.hi) return false;
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

// dst[i * pitch + lane] for i < run <= 16, where every lane's `run` elements are contiguous: a transposition. Lanes from
// `width` on get what the first lane has; nobody looks at their products. `spill` allows writing sixteen lanes where the
// slot is shorter, because the next row is written later.
template <class S>
KW_ONCE void pack_along_k(float* dst, int pitch, int slot, int width, const S* p, const int64_t* lane, int run,
                          bool spill) {
  vf rows[16];
  if (run == 16 && !MASKS) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = load(p + lane[r < width ? r : 0]);
  } else {
    vi mask = first(run);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = load_mask(p + lane[r < width ? r : 0], mask);
  }
  transpose(rows);
  if (run == 16 && spill) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) store(dst + r * pitch, rows[r]);
    return;
  }
  float all[16][16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(all[r], rows[r]);
#pragma GCC unroll 1
  for (int r = 0; r < run; ++r) store(dst + r * pitch, load(all[r]), slot);
}

// One group of `slot` <= 16 lanes over kc steps: dst[i * pitch + lane]; lanes from `width` on are never looked at. ALONG says
// beforehand that steps are contiguous and lanes are not, which leaves less to compile.
template <bool ALONG, class S>
KW_ONCE void pack_group(float* dst, int pitch, int slot, int width, Source<S> src, const int64_t* lane,
                        const int64_t* k, int64_t kc) {
  bool along_k = true;
  if constexpr (!ALONG) {
    Runs runs(lane, width);
    along_k = runs.count > 1 && kc >= 4 && k[1] - k[0] == 1 && k[2] - k[0] == 2 && k[3] - k[0] == 3;
    if (runs.count <= Runs::MOST && !(along_k && (runs.count > 2 || (kc >= 8 && k[7] - k[0] == 7)))) {
      if (runs.inside(src, Range(k, kc))) {
        int step = runs.step, count = runs.count;
        for (int r = count; r < 4; ++r) runs.at[r] = runs.at[0], runs.from[r] = vi{};
        if (step == 1 && count == 1) return pack_runs<1, 1>(dst, pitch, slot, width, src.p, runs, k, kc);
        if (step == 1 && count == 2) return pack_runs<1, 2>(dst, pitch, slot, width, src.p, runs, k, kc);
        if (step == 1) return pack_runs<1, 4>(dst, pitch, slot, width, src.p, runs, k, kc);
        if (count == 1) return pack_runs<2, 1>(dst, pitch, slot, width, src.p, runs, k, kc);
        return pack_runs<2, 4>(dst, pitch, slot, width, src.p, runs, k, kc);
      }
    }
  }
  for (int64_t i = 0; i < kc;) {
    int run = 1;
    while (run < 16 && i + run < kc && k[i + run] - k[i] == run) ++run;
    if (along_k && run >= 3) {
      pack_along_k(dst + i * pitch, pitch, slot, width, src.p + k[i], lane, run,
                   slot == 16 || (pitch < 16 && i + run < kc));
      i += run;
      continue;
    }
    for (int j = 0; j < width; ++j) dst[i * pitch + j] = get(src.p + lane[j] + k[i]);
    for (int j = width; j < slot; ++j) dst[i * pitch + j] = 0;
    ++i;
  }
}

template <bool ALONG, class S>
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
template <bool ALONG = false, class T, class S>
KW_ONCE void pack(T* dst, int pitch, int64_t panel, Source<S> src, const int64_t* lane, int64_t n,
                                    const int64_t* k, int64_t kc) {
  int64_t full = 0;  // lanes that are one contiguous run of whole groups: copied row by row, as memory likes it
  if (!ALONG && pitch % 16 == 0) {
    while (full < n && lane[full] - lane[0] == full) ++full;
    full = full < n ? 0 : full / 16 * 16;
  }
  if (!ALONG && full >= 32)
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
        pack_group<ALONG>(d, pitch, slot, width, src, lane + j + g, k, kc);
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

KW_INLINE void copy_row(bf16* d, const bf16* p, int64_t n, int64_t step) {
  if (step == 1) __builtin_memcpy(d, p, static_cast<unsigned long>(n) * sizeof(bf16));
  else
    for (int64_t i = 0; i < n; ++i) d[i] = p[i * step];
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

}  // namespace gemm
}  // namespace kw
