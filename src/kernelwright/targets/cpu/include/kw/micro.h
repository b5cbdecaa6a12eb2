// Micro-kernels: an MR x NV tile of C stays in registers while A and B stream past it.
//
// A comes from a packed panel [k][MR] or straight from its rows in memory; B from a packed panel [k][NV vectors], or from
// where it lies, packed in passing: the loads and stores of packing hide behind the multiply-adds.
#pragma once
#include <kw/pack.h>

namespace kw {
namespace gemm {

// Whether pairs of bfloat16 multiply in one instruction.
#ifdef __AVX512BF16__
constexpr bool PAIRS = true;
#else
constexpr bool PAIRS = false;
#endif

// What a register holds: accumulators of more than that would live in memory. A vector of V is PARTS registers.
#ifdef __AVX512F__
constexpr int REGISTER = 64;
#elif defined(__AVX__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif
constexpr int PARTS = 64 / REGISTER;
template <class T>
struct Part {
  typedef T type __attribute__((vector_size(REGISTER)));
  static constexpr int L = REGISTER / sizeof(T);
};

// ── A ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
template <class T, int MR>
struct PanelA {
  const T* p;
  KW_INLINE PanelA(const T* a, int64_t) : p(a) {}
  KW_INLINE const T* at(int i) const { return p + i; }
  KW_INLINE void next() { p += MR; }
};
// Rows `stride` apart, contiguous along k. One pointer for five rows: what an address can hold of multiples.
template <class T, int MR>
struct RowsA {
  static constexpr int N = (MR + 4) / 5;
  const T* p[N];
  int64_t s;
  KW_INLINE RowsA(const T* a, int64_t stride) : s(stride) {
#pragma GCC unroll 4
    for (int q = 0; q < N; ++q) p[q] = a + q * 5 * stride;
  }
  KW_INLINE const T* at(int i) const { return p[i / 5] + i % 5 * s; }
  KW_INLINE void next() {
#pragma GCC unroll 4
    for (int q = 0; q < N; ++q) ++p[q];
  }
};

// ── B ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
template <class T, int NV>
struct PanelB {
  const T* p;
  template <class R, int USE>
  KW_INLINE void next(R (&v)[USE]) {
#pragma GCC unroll 32
    for (int j = 0; j < USE; ++j) v[j] = *reinterpret_cast<const R*>(p + j * Part<T>::L);
    p += NV * Lanes<T>::L;
  }
};

// Lanes in at most COUNT contiguous runs per vector: each run is one masked load, which reads nothing else. What was read
// is stored as a packed panel for the row panels that follow.
template <int NV, int COUNT>
struct StreamB {
  static constexpr int AHEAD = 8;  // steps between asking for memory and using it; that many more are in `steps`
  const float* p[NV][COUNT];
  unsigned short mask[NV][COUNT];
  const int64_t* step;
  float* to;

  KW_ONCE void open(const float* source, const int64_t* lane, int width, const int64_t* steps, float* target) {
    step = steps;
    to = target;
    for (int j = 0; j < NV * COUNT; ++j) p[j / COUNT][j % COUNT] = source, mask[j / COUNT][j % COUNT] = 0;
#pragma GCC unroll 1
    for (int i = 0, r = 0; i < width; ++i) {
      int j = i / 16, e = i % 16;
      r = e == 0 ? 0 : r + (lane[i] - lane[i - 1] != 1);
      p[j][r] = source + (lane[i] - e);
      mask[j][r] = static_cast<unsigned short>(mask[j][r] | 1 << e);
    }
  }
  template <int USE>
  KW_INLINE void next(vf (&v)[USE]) {
#ifdef __AVX512F__
    int64_t k = *step, ahead = step[AHEAD];
    ++step;
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      v[j] = (vf)__builtin_ia32_loadups512_mask(p[j][0] + k, vf{}, mask[j][0]);
#pragma GCC unroll 4
      for (int r = 1; r < COUNT; ++r) v[j] = (vf)__builtin_ia32_loadups512_mask(p[j][r] + k, v[j], mask[j][r]);
      __builtin_prefetch(p[j][0] + ahead);
      *reinterpret_cast<vf*>(to + j * 16) = v[j];
    }
    to += NV * 16;
#endif
  }
};

// ── product ────────────────────────────────────────────────────────────────────────────────────────────────────────
template <bool DOT>
KW_INLINE void multiply(vf& acc, const float* a, vf b) {
#ifdef __AVX512BF16__
  if constexpr (DOT) {  // two products of bfloat16 per lane; no builtin has the same type in every compiler
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(b), "m"(*a));
    return;
  }
#endif
  acc += same(*a) * b;
}
template <bool DOT, class T, class R>
KW_INLINE void multiply(R& acc, const T* a, R b) { acc += *a * b; }

// tile[MR][NV vectors] (+)= a[MR][kc] * b[kc][NV vectors]; only the first USE vectors of each row of the tile. Every block
// of K is summed by itself and then added, so that errors grow with the block and the number of blocks, not with K.
template <class T, int MR, int NV, int USE, bool DOT, class A, class B>
KW_ONCE void micro(int64_t kc, const T* at, int64_t stride, B b, T* tile, bool add) {
  typedef typename Part<T>::type R;
  constexpr int N = USE * PARTS;
  A a(at, stride);
  R acc[MR][N];
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) acc[i][j] = R{};
#pragma GCC unroll 1
  for (int64_t k = 0; k < kc; ++k) {
    R bv[N];
    b.next(bv);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j) multiply<DOT>(acc[i][j], a.at(i), bv[j]);
    a.next();
  }
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
      R* to = reinterpret_cast<R*>(tile + i * NV * Lanes<T>::L + j * Part<T>::L);
      *to = add ? *to + acc[i][j] : acc[i][j];
    }
}

// ── pairs of bfloat16 ──────────────────────────────────────────────────────────────────────────────────────────────
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vu16 __attribute__((vector_size(32)));

KW_INLINE uint32_t pair_word(const bf16* low, const bf16* high) {
  return low->bits | (high ? uint32_t(high->bits) << 16 : 0);
}

// Lanes in a few runs of memory (see Runs): two rows per run, blended and then interleaved.
template <int COUNT, class S>
KW_INLINE void pack_pair_runs(uint32_t* dst, int pitch, int slot, const S* p, const Runs& runs, const int64_t* k,
                              int64_t kc) {
  vi from[COUNT];
  int64_t at[COUNT];
#pragma GCC unroll 4
  for (int r = 0; r < COUNT; ++r) at[r] = runs.at[r], from[r] = runs.from[r];
  auto row = [&](int64_t offset) {
    vu v{};
#pragma GCC unroll 4
    for (int r = 0; r < COUNT; ++r) {
      vu16 x;
      __builtin_memcpy(&x, p + offset + at[r], sizeof x);
      v = r ? (from[r] ? __builtin_convertvector(x, vu) : v) : __builtin_convertvector(x, vu);
    }
    return v;
  };
  for (int64_t i = 0; i < kc; i += 2, dst += pitch) {
    vu word = row(k[i]);
    if (i + 1 < kc) word |= row(k[i + 1]) << 16;
    vf bits;
    __builtin_memcpy(&bits, &word, sizeof bits);
    if (slot == 16) store(reinterpret_cast<float*>(dst), bits);
    else store(reinterpret_cast<float*>(dst), bits, slot);
  }
}

// One group of up to 16 lanes: dst[i * pitch + lane] holds the elements k[2i] and k[2i + 1]; `kc` counts elements.
template <class S>  // a template, so that only kernels that need it compile it
KW_ONCE void pack_pair_group(uint32_t* dst, int pitch, int slot, int width, Source<S> source, const int64_t* lane,
                             const int64_t* k, int64_t kc, Range reach) {
  const S* src = source.p;
  Runs runs(lane, width);
  bool along = kc >= 32 && k[31] - k[0] == 31;
  if (runs.count <= (along ? 1 : Runs::MOST) && runs.step == 1 && runs.inside(source, reach)) {
    for (int r = runs.count; r < Runs::MOST; ++r) runs.at[r] = runs.at[0], runs.from[r] = vi{};
    if (runs.count == 1) return pack_pair_runs<1>(dst, pitch, slot, src, runs, k, kc);
    if (runs.count == 2) return pack_pair_runs<2>(dst, pitch, slot, src, runs, k, kc);
    return pack_pair_runs<Runs::MOST>(dst, pitch, slot, src, runs, k, kc);
  }
  for (int64_t i = 0; i < kc; i += 2, dst += pitch) {
    bool both = i + 1 < kc;
    if (i + 32 <= kc && k[i + 31] - k[i] == 31) {  // neighbouring steps: a transposition of words
      vf rows[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) __builtin_memcpy(&rows[r], src + lane[r < width ? r : 0] + k[i], 64);
      transpose(rows);
      float all[16][16];
      __builtin_memcpy(all, rows, sizeof all);
#pragma GCC unroll 1
      for (int r = 0; r < 16; ++r) store(reinterpret_cast<float*>(dst) + r * pitch, load(all[r]), slot);
      i += 30;
      dst += 15 * pitch;
      continue;
    }
    for (int j = 0; j < slot; ++j) {
      const S* p = src + lane[j < width ? j : 0];
      dst[j] = pair_word(p + k[i], both ? p + k[i + 1] : nullptr);
    }
  }
}

template <class S>
KW_ONCE void pack_pairs(float* dst, int pitch, int64_t panel, Source<S> src, const int64_t* lane, int64_t n,
                        const int64_t* k, int64_t kc) {
  Range reach(k, kc);
  for (int64_t j = 0; j < n; j += pitch)
    for (int g = 0; g < pitch; g += 16) {
      int slot = min(16, pitch - g), width = static_cast<int>(max<int64_t>(0, min<int64_t>(slot, n - j - g)));
      uint32_t* d = reinterpret_cast<uint32_t*>(dst + j / pitch * panel + g);
      if (width > 0) pack_pair_group(d, pitch, slot, width, src, lane + j + g, k, kc, reach);
      else
        for (int64_t i = 0; i < (kc + 1) / 2; ++i)
          for (int q = 0; q < slot; ++q) d[i * pitch + q] = 0;
    }
}

}  // namespace gemm
}  // namespace kw
