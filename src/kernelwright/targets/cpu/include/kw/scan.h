// Prefix scans inside a vector, with a carry from vector to vector.
#pragma once
#include <kw/math.h>

namespace kw {

// Lanes moved up by N; the first N lanes are taken from `low`.
template <int N>
KW_INLINE vf shift_up(vf x, vf low) {
  return __builtin_shufflevector(low, x, 16 - N, 17 - N, 18 - N, 19 - N, 20 - N, 21 - N, 22 - N, 23 - N, 24 - N, 25 - N,
                                 26 - N, 27 - N, 28 - N, 29 - N, 30 - N, 31 - N);
}
template <int N>
KW_INLINE vi shift_up(vi x, vi low) {
  return (vi)shift_up<N>((vf)x, (vf)low);
}
template <int N, class V>
KW_INLINE V shift_up(V x, V low) {
  V r = low;
  for (int k = N; k < W; ++k) set(r, k, x[k - N]);
  return r;
}

// Inclusive scan of the lanes in four steps.
template <class R, class V>
KW_INLINE V prefix(V x) {
  x = R::join(x, shift_up<1>(x, R::identity()));
  x = R::join(x, shift_up<2>(x, R::identity()));
  x = R::join(x, shift_up<4>(x, R::identity()));
  return R::join(x, shift_up<8>(x, R::identity()));
}

// A scan along the lanes: next(x, n) takes the next n values and returns their scan. C is the type of the carry (double
// for float32 sums, so that the error does not grow with the position).
template <template <class> class R, class V, class C>
struct Carry {
  typedef scalar_t<V> S;
  C carry = R<C>::identity();
  template <bool Exclusive, bool Reverse>
  KW_INLINE V next(V x, int n) {
    if (!(__builtin_constant_p(n) && n == W)) x = select(first(n), x, R<V>::identity());
    if constexpr (Reverse) x = reversed(x);
    V p = prefix<R<V>>(x);
    V before = splat<V>(static_cast<S>(carry));
    carry = R<C>::join(carry, static_cast<C>(p[W - 1]));
    V y = R<V>::join(before, Exclusive ? shift_up<1>(p, R<V>::identity()) : p);
    if constexpr (Reverse) y = reversed(y);
    return y;
  }
};

}  // namespace kw
