// Low-bit codes as they lie in memory, and what they stand for.
//
// Weights lie in tiles of 16 rows: [rows / 16][K / 32][BITS][64 bytes]. A chunk of BITS vectors holds 32 inputs in
// planes of 4, 2 and 1 bits (8 bits are bytes as they are); byte 4 r + j of slice s is row r, input 4 s + j.
//
// A type is a list of values: generated sources define a struct that every template here takes as CODE, with
//   BITS, VALUES[2**BITS]   what each code stands for;
//   COUNTED                 whether that is code - ZERO, so that no table is needed;
//   LEVELS, ZERO, UNIT      whether it is UNIT * (byte - ZERO) with bytes from 0 to 255: then sums of integers are exact.
#pragma once
#include "vec.h"

namespace kw::lowbit {

typedef uint8_t bytes __attribute__((vector_size(64)));
typedef uint16_t pairs __attribute__((vector_size(64)));

constexpr int ROWS = 16;   // rows of a tile: the lanes of a vector
constexpr int CHUNK = 32;  // inputs of a chunk
constexpr int SLICE = 4;   // inputs that a lane holds in its four bytes
constexpr int SLICES = CHUNK / SLICE;

constexpr int plane_shift(int bits, int plane) { return plane == 4 ? 0 : plane == 2 ? bits & 4 : bits & 6; }

// Slice s of one plane, `plane` bits wide, that begins at p.
template <int PLANE>
KW_INLINE bytes plane_slice(const uint8_t* p, int s) {
  pairs v;
  __builtin_memcpy(&v, p + 64 * (s / (8 / PLANE)), sizeof v);
  constexpr uint16_t mask = ((1 << PLANE) - 1) * 0x101;
  return (bytes)((v >> PLANE * (s % (8 / PLANE))) & mask);
}

// The codes of slice s of a chunk: lane r holds four inputs of row r.
template <int BITS>
KW_INLINE bytes slice(const uint8_t* chunk, int s) {
  if constexpr (BITS == 8) {
    bytes v;
    __builtin_memcpy(&v, chunk + 64 * s, sizeof v);
    return v;
  } else {
    pairs codes{};
    if constexpr (BITS & 4) codes |= (pairs)plane_slice<4>(chunk, s);
    if constexpr (BITS & 2) codes |= (pairs)plane_slice<2>(chunk + 64 * (BITS & 4), s) << plane_shift(BITS, 2);
    if constexpr (BITS & 1) codes |= (pairs)plane_slice<1>(chunk + 64 * (BITS & 6), s) << plane_shift(BITS, 1);
    return (bytes)codes;
  }
}

// What 16 codes stand for.
template <class CODE>
KW_INLINE vf value(vi codes) {
  if constexpr (CODE::COUNTED) {
    return __builtin_convertvector(codes - CODE::ZERO, vf);
  } else {
    vf made{};
    for (int k = 0; k < W; ++k) made[k] = CODE::VALUES[codes[k]];
    return made;
  }
}

#ifdef __AVX512VNNI__
// sum + the dot products of four neighbouring bytes each: `counts` from 0 to 255, `digits` from -128 to 127.
KW_INLINE vi dot(vi sum, bytes counts, bytes digits) {
#ifdef __clang__
  return (vi)__builtin_ia32_vpdpbusd512(sum, (vi)counts, (vi)digits);
#else
  return (vi)__builtin_ia32_vpdpbusd_v16si(sum, (vi)counts, (vi)digits);
#endif
}
#endif

#ifdef __AVX512VBMI__
constexpr bool HAS_PERMUTES = true;

// table[code] for 64 codes, of which the low 6 or 7 bits count.
KW_INLINE bytes permute(bytes codes, bytes table) {
  typedef char v64 __attribute__((vector_size(64)));
#ifdef __clang__
  return (bytes)__builtin_ia32_permvarqi512((v64)table, (v64)codes);
#else
  return (bytes)__builtin_ia32_permvarqi512_mask((v64)table, (v64)codes, (v64)table, -1ll);
#endif
}
KW_INLINE bytes permute(bytes codes, bytes low, bytes high) {
  typedef char v64 __attribute__((vector_size(64)));
#ifdef __clang__
  return (bytes)__builtin_ia32_vpermi2varqi512((v64)low, (v64)codes, (v64)high);
#else
  return (bytes)__builtin_ia32_vpermt2varqi512_mask((v64)codes, (v64)low, (v64)high, -1ll);
#endif
}

// A table of as many bytes as there are codes, in registers.
template <int BITS>
struct Table {
  static constexpr int COUNT = BITS <= 6 ? 1 : BITS == 7 ? 2 : 4;
  bytes parts[COUNT];

  template <class F>
  static KW_INLINE Table of(const F& entry) {
    Table made;
    for (int part = 0; part < COUNT; ++part)
      for (int k = 0; k < 64; ++k) made.parts[part][k] = entry((64 * part + k) & ((1 << BITS) - 1));
    return made;
  }

  KW_INLINE bytes look_up(bytes codes) const {
    if constexpr (COUNT == 1) {
      return permute(codes, parts[0]);
    } else if constexpr (COUNT == 2) {
      return permute(codes, parts[0], parts[1]);
    } else {
      const bytes low = permute(codes, parts[0], parts[1]), high = permute(codes, parts[2], parts[3]);
      return (codes & 128) != 0 ? high : low;
    }
  }
};
#else
constexpr bool HAS_PERMUTES = false;
#endif

// The integer UNIT * (byte - ZERO) of every code: 64 codes to 64 bytes.
template <class CODE>
struct Levels {
#ifdef __AVX512VBMI__
  Table<CODE::BITS> table = Table<CODE::BITS>::of([](int code) {
    return uint8_t(int(CODE::VALUES[code] / CODE::UNIT) + CODE::ZERO);
  });
#endif
  KW_INLINE bytes of(bytes codes) const {
#ifdef __AVX512VBMI__
    if constexpr (!CODE::COUNTED) return table.look_up(codes);
#endif
    return codes;
  }
};

}  // namespace kw::lowbit
