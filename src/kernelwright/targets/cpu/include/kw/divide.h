// Integer division of whole vectors through double arithmetic: processors divide integers one lane at a time.
//
// A quotient estimated in double leaves a remainder too large by a few divisors at most; a second estimate from that
// remainder is right to within one, and its sign says which way. All integer steps wrap, so the extremes come out right.
#pragma once
#include <kw/vec.h>

namespace kw {

// Python's quotient and remainder of eight lanes.
template <class L, class U, class D>
KW_INLINE L floor_divmod(L a, L b, D inverse, int steps, L& remainder) {
  U q{}, r = (U)a, d = (U)b;
  for (int step = 0; step < steps; ++step) {
    U more = (U)__builtin_convertvector(__builtin_convertvector((L)r, D) * inverse, L);
    q += more;
    r -= more * d;
  }
  L wrong = ((L)r != 0) & (((L)r ^ b) < 0);  // the remainder takes the divisor's sign
  r += (U)wrong & d;
  q += (U)wrong;
  L whole = (L)r == b;  // the estimate was one short
  remainder = (L)(r & ~(U)whole);
  return (L)(q - (U)whole);
}

typedef uint32_t vu8 __attribute__((vector_size(32)));

KW_INLINE vi8 floor_divmod(vi8 a, vi8 b, vi8& remainder) {
  return floor_divmod<vi8, vu8, vd8>(a, b, 1.0 / __builtin_convertvector(b, vd8), 1, remainder);
}
KW_INLINE vi floordiv(vi a, vi b) {
  vi8 r;
  return join(floor_divmod(low(a), low(b), r), floor_divmod(high(a), high(b), r));
}
KW_INLINE vi mod(vi a, vi b) {
  vi8 r, s;
  floor_divmod(low(a), low(b), r), floor_divmod(high(a), high(b), s);
  return join(r, s);
}

#ifdef __AVX512DQ__
KW_INLINE vl8 floor_divmod(vl8 a, vl8 b, vl8& remainder) {
  return floor_divmod<vl8, vul8, vd8>(a, b, 1.0 / __builtin_convertvector(b, vd8), 2, remainder);
}
KW_INLINE vl floordiv(vl a, vl b) {
  vl8 r;
  return {floor_divmod(a.lo, b.lo, r), floor_divmod(a.hi, b.hi, r)};
}
KW_INLINE vl mod(vl a, vl b) {
  vl r;
  floor_divmod(a.lo, b.lo, r.lo), floor_divmod(a.hi, b.hi, r.hi);
  return r;
}
#endif

}  // namespace kw
