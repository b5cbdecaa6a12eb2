// Tables of sums of neighbouring activations, and the loop that looks them up: the inside of "lut.h".
//
// A nibble of a weight's row picks one of the 16 sums that its few inputs can make with their weights. Sums become
// integers of 24 bits relative to the largest of a block (32 bits where values of very different size meet), cut into
// bytes: 16 rows times four tables are one permutation of 64 bytes for each digit, and one instruction adds the four
// bytes of each row, exactly. Processors without such permutations look 16 floats up at a time.
#pragma once
#include "lowbit.h"

namespace kw::lut {

using lowbit::block_of;
using lowbit::bytes;
using lowbit::CHUNK;
using lowbit::pairs;
using lowbit::ROWS;

constexpr int BYTES = 4;           // of a row in a vector of codes
constexpr int ENTRIES = 16;        // of a table
constexpr int AHEAD = 2048;        // bytes: each tile is a stream of its own
constexpr float HUGE_SIZE = 1e35f;  // beyond it sums may overflow where their products do not

// A plane of signs: byte j of a row holds the inputs 8 j to 8 j + 7.
struct Signs {
  static constexpr int VECTORS = 1, INPUTS = 4, STEP = 1;  // vectors of a chunk; inputs of a nibble, and how far apart
  static constexpr int first(int, int high, int j) { return 8 * j + 4 * high; }
  static KW_INLINE vi weight(vi entry, int input) { return (entry >> input & 1) * 2 - 1; }
};

// Integers of 1 or 2 bits as "lowbit_codes.h" lays them out, minus ZERO.
template <int BITS, int ZERO>
struct Counts {
  static constexpr int VECTORS = BITS, INPUTS = 4 / BITS, STEP = 4;
  static constexpr int first(int vector, int high, int j) { return vector * (32 / BITS) + high * (16 / BITS) + j; }
  static KW_INLINE vi weight(vi entry, int input) { return (entry >> BITS * input & ((1 << BITS) - 1)) - ZERO; }
};

// What is known of one row of activations, in the workspace.
struct Row {
  uint8_t* tables;  // 64 bytes for each digit (or each table) of a nibble
  float* unit;      // [K / BLOCK]: what the lowest digit counts
  int32_t* deep;    // [K / BLOCK]: does the block use all four digits?
  float* sum;       // [K / GROUP]: the sum of the activations, for the offsets
};

constexpr int TABLE_BYTES = 512;  // of a vector of codes

template <class SET, int GROUP>
KW_INLINE Row row_at(char* memory, int64_t depth) {
  Row row;
  row.tables = reinterpret_cast<uint8_t*>(memory);
  row.unit = reinterpret_cast<float*>(memory + depth / CHUNK * SET::VECTORS * TABLE_BYTES);
  row.deep = reinterpret_cast<int32_t*>(row.unit + depth / block_of<GROUP>);
  row.sum = reinterpret_cast<float*>(row.deep + depth / block_of<GROUP>);
  return row;
}

KW_INLINE vf magnitude(vf v) { return (vf)((vi)v & 0x7fffffff); }

KW_INLINE float sum_of(vf v) {
  float sum = 0;
  for (int k = 0; k < W; ++k) sum += v[k];
  return sum;
}

KW_INLINE float largest_of(vf v) {
  float largest = 0;
  for (int k = 0; k < W; ++k) largest = max(largest, float(v[k]));
  return largest;
}

// The 16 sums of every nibble of a block, nibble by nibble (vector, high, byte); `reach` is the largest.
template <int BLOCK, class SET>
KW_INLINE void sums_of(const float* x, vf* sums, float& reach) {
  vf most{}, weights[SET::INPUTS];
  for (int b = 0; b < SET::INPUTS; ++b) weights[b] = __builtin_convertvector(SET::weight(iota(), b), vf);
  for (int v = 0; v < BLOCK / CHUNK * SET::VECTORS; ++v)
    for (int high = 0; high < 2; ++high)
      for (int j = 0; j < BYTES; ++j) {
        const float* from = x + v / SET::VECTORS * CHUNK + SET::first(v % SET::VECTORS, high, j);
        vf sum{};
        for (int b = 0; b < SET::INPUTS; ++b) sum += weights[b] * from[b * SET::STEP];
        *sums++ = sum;
        const vf size = magnitude(sum);
        most = size > most ? size : most;
      }
  reach = largest_of(most);
}

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
using lowbit::DIGITS;

KW_INLINE vi nearest(vf v) { return (vi)__builtin_ia32_cvtps2dq512_mask(v, vi{}, (short)-1, 4); }

// The tables of a block. `digit` d of four tables is one vector; digits lie one after the other.
template <int BLOCK, class SET>
KW_INLINE void write(const vf* sums, float reach, bool deep, uint8_t* tables, float& unit) {
  typedef uint8_t sixteen __attribute__((vector_size(16)));
  // A power of two, so that what few bits hold (integers, 16-bit floats) stays exact; 0x1.02p0 leaves room for TOP.
  const float power = __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, reach * 0x1.02p0f) & 0x7f800000u);
  unit = power * (deep ? 0x1p-30f : 0x1p-22f);
  const float inverse = power > 0.0f ? 1.0f / unit : 0.0f;
  for (int n = 0; n < BLOCK / CHUNK * SET::VECTORS * 2; ++n, tables += DIGITS * 64)
    for (int j = 0; j < BYTES; ++j) {
      const vi whole = (nearest(*sums++ * inverse) + 0x808080) ^ 0x808080;  // its bytes are digits from -128 to 127
      for (int d = 0; d < DIGITS; ++d) {
        const sixteen digit = __builtin_convertvector(whole >> 8 * d, sixteen);
        __builtin_memcpy(tables + 64 * d + ENTRIES * j, &digit, sizeof digit);
      }
    }
}

// One block of R tiles, added to `part`; D digits. ALL: vectors of a chunk, of which every VECTORS are looked at.
template <class SET, int BLOCK, int ALL, int R, int D>
KW_INLINE void look_up(const uint8_t* codes, int64_t stride, const uint8_t* tables, float unit, vf* part) {
  const bytes base = (bytes)splat<vi>(0x30201000), ones = (bytes)splat<vi>(0x01010101);
  vi sums[R][D] = {};
  for (int c = 0; c < BLOCK / CHUNK; ++c)
#pragma GCC unroll 2
    for (int v = 0; v < SET::VECTORS; ++v) {
      bytes words[R];
      for (int r = 0; r < R; ++r) {
        const uint8_t* from = codes + r * stride + (c * ALL + v) * 64;
        __builtin_memcpy(&words[r], from, sizeof words[r]);
        __builtin_prefetch(from + AHEAD);
      }
#pragma GCC unroll 2
      for (int high = 0; high < 2; ++high) {
        bytes index[R];
        for (int r = 0; r < R; ++r) index[r] = ((bytes)((pairs)words[r] >> 4 * high) & 15) | base;
        for (int d = 0; d < D; ++d) {
          bytes table;
          __builtin_memcpy(&table, tables + (((c * SET::VECTORS + v) * 2 + high) * DIGITS + d) * 64, sizeof table);
          __asm__("" : "+v"(table));  // loaded once for all R
          for (int r = 0; r < R; ++r)
            sums[r][d] = lowbit::dot(sums[r][d], ones, lowbit::permute(index[r], table));
        }
      }
    }
  for (int r = 0; r < R; ++r) {
    if constexpr (D == 3) {  // at most 32 sums of 24 bits: they fit
      part[r] += __builtin_convertvector(sums[r][0] + (sums[r][1] << 8) + (sums[r][2] << 16), vf) * unit;
    } else {
      vf joined = __builtin_convertvector(sums[r][D - 1], vf);
      for (int d = D - 2; d >= 0; --d) joined = joined * 256.0f + __builtin_convertvector(sums[r][d], vf);
      part[r] += joined * unit;
    }
  }
}

// The same with four digits, a tile at a time: seldom needed.
template <class SET, int BLOCK, int ALL, int R>
__attribute__((noinline)) void look_up_deep(const uint8_t* codes, int64_t stride, const uint8_t* tables, float unit, vf* part) {
  for (int r = 0; r < R; ++r) look_up<SET, BLOCK, ALL, 1, DIGITS>(codes + r * stride, stride, tables, unit, part + r);
}
#else
// table[index & 15], lane by lane.
KW_INLINE vf permute(vf table, vi index) {
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

// The tables of a block as they are.
template <int BLOCK, class SET>
KW_INLINE void write(const vf* sums, float, bool, uint8_t* tables, float& unit) {
  unit = 1.0f;
  __builtin_memcpy(tables, sums, BLOCK / CHUNK * SET::VECTORS * TABLE_BYTES);
}

template <class SET, int BLOCK, int ALL, int R, int D>
KW_INLINE void look_up(const uint8_t* codes, int64_t stride, const uint8_t* tables, float unit, vf* part) {
  vf sums[R] = {};
  for (int c = 0; c < BLOCK / CHUNK; ++c)
    for (int v = 0; v < SET::VECTORS; ++v)
      for (int high = 0; high < 2; ++high)
        for (int j = 0; j < BYTES; ++j) {
          vf table;
          __builtin_memcpy(&table, tables + (((c * SET::VECTORS + v) * 2 + high) * BYTES + j) * 64, sizeof table);
          for (int r = 0; r < R; ++r) {
            vi words;
            __builtin_memcpy(&words, codes + r * stride + (c * ALL + v) * 64, sizeof words);
            sums[r] += permute(table, words >> (8 * j + 4 * high));
          }
        }
  for (int r = 0; r < R; ++r) part[r] += sums[r] * unit;
}

template <class SET, int BLOCK, int ALL, int R>
KW_INLINE void look_up_deep(const uint8_t* codes, int64_t stride, const uint8_t* tables, float unit, vf* part) {
  look_up<SET, BLOCK, ALL, R, 0>(codes, stride, tables, unit, part);
}
#endif

// The tables of a block of activations. Returns false when they are not finite, huge, or too small for integers.
template <int BLOCK, class SET, class T>
KW_INLINE bool build(const T* x, uint8_t* tables, float& unit, int32_t& deep, float& sum) {
  float plain[BLOCK];
  vf most{}, all{}, total{}, sums[BLOCK / CHUNK * SET::VECTORS * 2 * BYTES];
  for (int k = 0; k < BLOCK; k += W) {
    const vf v = load(x + k), size = magnitude(v);
    store(plain + k, v);
    most = size > most ? size : most;
    all += size;
    total += v;
  }
  const float spread = sum_of(all);
  if (!(spread <= HUGE_SIZE)) return false;
  sum += sum_of(total);
  float reach;
  sums_of<BLOCK, SET>(plain, sums, reach);
  if (reach > 0.0f && reach < lowbit::TINY) return false;
  deep = largest_of(most) > lowbit::SPREAD / BLOCK * spread;
  write<BLOCK, SET>(sums, reach, deep, tables, unit);
  return true;
}

// All tables of a row. Returns false where it is to be computed as the definition has it.
template <int GROUP, class SET, class T>
KW_INLINE bool build_row(const T* x, int64_t depth, const Row& row) {
  constexpr int BLOCK = block_of<GROUP>;
  for (int64_t g = 0; g < depth / GROUP; ++g) {
    float sum = 0;
    for (int64_t at = g * (GROUP / BLOCK); at < (g + 1) * (GROUP / BLOCK); ++at)
      if (!build<BLOCK, SET>(x + at * BLOCK, row.tables + at * (BLOCK / CHUNK) * SET::VECTORS * TABLE_BYTES, row.unit[at],
                             row.deep[at], sum))
        return false;
    row.sum[g] = sum;
  }
  return true;
}

// R tiles times one row of activations; PLANES have a scale each. Returns false when a scale or an offset is not finite.
template <class SET, int PLANES, int GROUP, bool OFFSET, int R, class S, class F>
KW_INLINE bool tiles(const uint8_t* codes, const S* scale, const S* offset, int64_t depth, const Row& row, const F& finish) {
  constexpr int BLOCK = block_of<GROUP>, ALL = PLANES * SET::VECTORS;
  const int64_t stride = depth / CHUNK * ALL * 64, groups = depth / GROUP;
  vf total[R] = {}, poison{};
  for (int64_t g = 0; g < groups; ++g) {
    for (int plane = 0; plane < PLANES; ++plane) {
      vf part[R] = {};
      for (int64_t at = g * (GROUP / BLOCK); at < (g + 1) * (GROUP / BLOCK); ++at) {
        const uint8_t* from = codes + (at * (BLOCK / CHUNK) * ALL + plane * SET::VECTORS) * 64;
        const uint8_t* tables = row.tables + at * (BLOCK / CHUNK) * SET::VECTORS * TABLE_BYTES;
        if (row.deep[at]) look_up_deep<SET, BLOCK, ALL, R>(from, stride, tables, row.unit[at], part);
        else look_up<SET, BLOCK, ALL, R, 3>(from, stride, tables, row.unit[at], part);
      }
      for (int r = 0; r < R; ++r) {
        const vf by = load(scale + ((r * groups + g) * PLANES + plane) * ROWS);
        poison += by * 0.0f;
        total[r] += by * part[r];
      }
    }
    if constexpr (OFFSET)
      for (int r = 0; r < R; ++r) {
        const vf shift = load(offset + (r * groups + g) * ROWS);
        poison += shift * 0.0f;
        total[r] += shift * row.sum[g];
      }
  }
  for (int r = 0; r < R; ++r) finish(r, total[r]);
  return !any(poison != 0.0f);
}

}  // namespace kw::lut
