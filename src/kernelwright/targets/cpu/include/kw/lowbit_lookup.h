// Products with weights of any type of at most 8 bits, by tables in registers: the inner loops of "lowbit.h" where sums
// of integers do not do (exponents of more than two bits, or groups smaller than a chunk).
//
// All values of at most 8 bits are exact in 16 bits (bfloat16): two permutations look up the upper and the lower bytes
// of 64 of them, interleaving makes words of the bytes, and a shift makes floats of the words. That leaves floats of
// neighbouring inputs side by side, so activations lie in the same order and a pair of them is broadcast at once.
#pragma once
#include "lowbit_codes.h"

namespace kw::lowbit {

template <int GROUP>
constexpr int run_of = GROUP % 128 == 0 ? 128 : GROUP % 64 == 0 ? 64 : GROUP % 32 == 0 ? 32 : GROUP;

// What is known of one row of activations, in the workspace.
struct Spread {
  float* x;    // [K]: the four inputs of a slice as 0, 2, 1, 3
  float* sum;  // [K / GROUP]: the sum of the activations, for the offsets
  bool plain;  // not finite, or so large that sums of them may overflow: to be computed as the definition has it
};

constexpr float VAST = 1e34f;

template <int GROUP>
KW_INLINE int64_t spread_bytes(int64_t depth) {
  return (depth + depth / GROUP) * 4;
}

template <int GROUP, bool OFFSET, class T>
KW_INLINE Spread spread_row(const T* x, char* memory, int64_t depth) {
  Spread row{reinterpret_cast<float*>(memory), reinterpret_cast<float*>(memory) + depth, false};
  constexpr int from[] = {0, 2, 1, 3};
  for (int64_t k = 0; k < depth; k += SLICE)
    for (int j = 0; j < SLICE; ++j) {
      const float v = float(get(x + k + from[j]));
      row.x[k + j] = v;
      row.plain |= !(v < VAST && v > -VAST);
    }
  if constexpr (OFFSET)
    for (int64_t g = 0; g < depth / GROUP; ++g) {
      double sum = 0;
      for (int k = 0; k < GROUP; ++k) sum += row.x[g * GROUP + k];
      row.sum[g] = static_cast<float>(sum);
    }
  return row;
}

#ifdef __AVX512VBMI__
typedef double pairs_of_floats __attribute__((vector_size(64)));

// 64 codes as floats: inputs 0 and 2 of rows 0, 1 mod 4, inputs 1 and 3 of them, then the same of rows 2, 3 mod 4.
template <class CODE>
struct Floats {
  static constexpr int HALF = 1 << (CODE::BITS - 1);

  static constexpr uint16_t word(int code) { return __builtin_bit_cast(uint32_t, CODE::VALUES[code] / CODE::UNIT) >> 16; }
  static constexpr bool symmetric() {
    for (int code = 0; code < HALF; ++code)
      if (word(code + HALF) != (word(code) | 0x8000)) return false;
    return true;
  }
  // Of 8 bits the first may be the sign: then half the table does.
  static constexpr bool SIGNED = CODE::BITS == 8 && symmetric();
  static constexpr int BITS = SIGNED ? 7 : CODE::BITS;

  Table<BITS> upper = Table<BITS>::of([](int code) { return uint8_t(word(code) >> 8); });
  Table<BITS> lower = Table<BITS>::of([](int code) { return uint8_t(word(code)); });

  KW_INLINE void of(bytes codes, vf* made) const {
    const bytes low = lower.look_up(codes);
    bytes high = upper.look_up(codes);
    if constexpr (SIGNED) high |= codes & 128;
#define KW_ZIP(K) K, K + 64, K + 1, K + 65, K + 2, K + 66, K + 3, K + 67, K + 4, K + 68, K + 5, K + 69, K + 6, K + 70, K + 7, K + 71
    const vu front = (vu)__builtin_shufflevector(low, high, KW_ZIP(0), KW_ZIP(16), KW_ZIP(32), KW_ZIP(48));
    const vu back = (vu)__builtin_shufflevector(low, high, KW_ZIP(8), KW_ZIP(24), KW_ZIP(40), KW_ZIP(56));
#undef KW_ZIP
    made[0] = (vf)(front << 16);
    made[1] = (vf)(front & 0xffff0000u);
    made[2] = (vf)(back << 16);
    made[3] = (vf)(back & 0xffff0000u);
  }
};

KW_INLINE vf broadcast_pair(const float* x) {
  double pair;
  __builtin_memcpy(&pair, x, sizeof pair);
  return (vf)pairs_of_floats{pair, pair, pair, pair, pair, pair, pair, pair};
}

// The sums of 16 rows from those of their even and odd inputs.
KW_INLINE vf join_pairs(vf front, vf back) {
  const vf even = __builtin_shufflevector(front, back, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30);
  const vf odd = __builtin_shufflevector(front, back, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
  return even + odd;
}

// R tiles times M rows of activations. Returns false when a scale or an offset is not finite.
template <class CODE, int GROUP, bool OFFSET, int R, int M, class S, class F>
KW_INLINE bool looked_up(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const Spread* rows,
                         const F& finish) {
  constexpr int RUN = run_of<GROUP>, AHEAD = 2048;
  const int64_t stride = depth / CHUNK * 64 * CODE::BITS, groups = depth / GROUP;
  const Floats<CODE> floats;
  vf total[R][M] = {}, poison{}, part[R][M][2] = {};
  for (int64_t c = 0; c < depth / CHUNK; ++c) {
    for (int r = 0; r < R; ++r)
      for (int line = 0; line < CODE::BITS; ++line)
        __builtin_prefetch(codes + r * stride + (c * CODE::BITS + line) * 64 + AHEAD);
#pragma GCC unroll 8
    for (int s = 0; s < SLICES; ++s) {
      const int64_t k = c * CHUNK + s * SLICE;
      for (int r = 0; r < R; ++r) {
        vf made[4];
        floats.of(slice<CODE::BITS>(codes + r * stride + c * 64 * CODE::BITS, s), made);
        for (int m = 0; m < M; ++m) {
          const vf even = broadcast_pair(rows[m].x + k), odd = broadcast_pair(rows[m].x + k + 2);
          part[r][m][0] += made[0] * even;
          part[r][m][1] += made[2] * even;
          part[r][m][0] += made[1] * odd;
          part[r][m][1] += made[3] * odd;
        }
      }
      if ((RUN < CHUNK && (s + 1) % (RUN / SLICE) == 0) || (s == SLICES - 1 && (k + SLICE) % RUN == 0)) {
        const int64_t g = k / GROUP;
        const bool last = (k + SLICE) % GROUP == 0;
        for (int r = 0; r < R; ++r) {
          const vf by = load(scale + (r * groups + g) * ROWS) * CODE::UNIT;
          poison += by * 0.0f;
          for (int m = 0; m < M; ++m) {
            total[r][m] += join_pairs(part[r][m][0], part[r][m][1]) * by;
            part[r][m][0] = part[r][m][1] = vf{};
          }
          if constexpr (OFFSET) {
            if (!last) continue;
            const vf shift = load(offset + (r * groups + g) * ROWS);
            poison += shift * 0.0f;
            for (int m = 0; m < M; ++m) total[r][m] += shift * rows[m].sum[g];
          }
        }
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) finish(m, r, total[r][m]);
  return !any(poison != 0.0f);
}
#endif

}  // namespace kw::lowbit
