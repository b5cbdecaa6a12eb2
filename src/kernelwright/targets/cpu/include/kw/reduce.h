// Accumulators of reductions: the same code for one value and for sixteen lanes.
//
// add(x) takes a value, add(x, n) only its first n lanes; merge(other) joins two accumulators; fold() is the result over
// the lanes, value() the result lane by lane.
#pragma once
#include <kw/vec.h>

namespace kw {

template <class V>
struct scalar_of {
  typedef V type;
};
template <>
struct scalar_of<vf> {
  typedef float type;
};
template <>
struct scalar_of<vi> {
  typedef int32_t type;
};
template <>
struct scalar_of<vd> {
  typedef double type;
};
template <>
struct scalar_of<vl> {
  typedef int64_t type;
};
template <class V>
using scalar_t = typename scalar_of<V>::type;
template <class V>
constexpr bool is_vector = sizeof(V) >= 64;

// A value in all lanes, or the value itself.
template <class V>
KW_INLINE V fill(scalar_t<V> x) {
  if constexpr (is_vector<V>) return splat<V>(x);
  else return x;
}
template <class S>
constexpr S lowest() {
  if constexpr (S(0.5) != S(0)) return S(-__builtin_inf());
  else return sizeof(S) == 8 ? S(INT64_MIN) : S(INT32_MIN);
}
template <class S>
constexpr S highest() {
  if constexpr (S(0.5) != S(0)) return S(__builtin_inf());
  else return sizeof(S) == 8 ? S(INT64_MAX) : S(INT32_MAX);
}

KW_INLINE vf plus(vf a, vf b) { return a + b; }
KW_INLINE vd plus(vd a, vd b) { return a + b; }
KW_INLINE float plus(float a, float b) { return a + b; }
KW_INLINE double plus(double a, double b) { return a + b; }
KW_INLINE vf times(vf a, vf b) { return a * b; }
KW_INLINE vd times(vd a, vd b) { return a * b; }
KW_INLINE float times(float a, float b) { return a * b; }
KW_INLINE double times(double a, double b) { return a * b; }
template <class V>
KW_INLINE V plus(V a, V b) {
  return add(a, b);
}
template <class V>
KW_INLINE V times(V a, V b) {
  return mul(a, b);
}

#define KW_REDUCTION(NAME, IDENTITY, COMBINE, FOLD)                  \
  template <class V>                                                 \
  struct NAME {                                                      \
    typedef scalar_t<V> S;                                           \
    V v = fill<V>(IDENTITY);                                         \
    static KW_INLINE V identity() { return fill<V>(IDENTITY); }      \
    static KW_INLINE V join(V a, V b) { return COMBINE(a, b); }      \
    KW_INLINE void add(V x) { v = COMBINE(v, x); }                   \
    KW_INLINE void add(V x, int n) {                                 \
      if (__builtin_constant_p(n) && n == W) add(x);                 \
      else v = COMBINE(v, select(first(n), x, fill<V>(IDENTITY)));   \
    }                                                                \
    KW_INLINE void merge(const NAME& o) { v = COMBINE(v, o.v); }     \
    KW_INLINE V value() const { return v; }                          \
    KW_INLINE S fold() const {                                       \
      if constexpr (is_vector<V>) return FOLD(v);                    \
      else return v;                                                 \
    }                                                                \
  };
KW_REDUCTION(Sum, S(0), plus, hsum)
KW_REDUCTION(Prod, S(1), times, hprod)
KW_REDUCTION(Max, lowest<S>(), maximum, hmax)
KW_REDUCTION(Min, highest<S>(), minimum, hmin)
#undef KW_REDUCTION

// The first n lanes; all of them at no cost when n is known to be 16.
KW_INLINE vi some(int n) { return __builtin_constant_p(n) && n == W ? splat<vi>(-1) : first(n); }

// Masks: V is vi or bool.
template <class V>
struct Any {
  V v = V{};
  KW_INLINE void add(V x) { v = v | x; }
  KW_INLINE void add(V x, int n) { v = v | (x & some(n)); }
  KW_INLINE void merge(const Any& o) { v = v | o.v; }
  KW_INLINE V value() const { return v; }
  KW_INLINE bool fold() const { return any(v); }
};
template <class V>
struct All {
  V failed = V{};
  static KW_INLINE V invert(V x) {
    if constexpr (is_vector<V>) return ~x;
    else return !x;
  }
  KW_INLINE void add(V x) { failed = failed | invert(x); }
  KW_INLINE void add(V x, int n) { failed = failed | (~x & some(n)); }
  KW_INLINE void merge(const All& o) { failed = failed | o.failed; }
  KW_INLINE V value() const { return invert(failed); }
  KW_INLINE bool fold() const { return !any(failed); }
};

// Blocks of a long float32 sum meet in double, so that its error does not grow with its length.
template <class V>
struct Total;
template <>
struct Total<vf> {
  vd v{};
  double scalar = 0;
  KW_INLINE void merge(const Sum<vf>& o) { v = v + to<vd>(o.v); }
  KW_INLINE void merge_fold(const Sum<vf>& o) { scalar += hsum_d(o.v); }
  KW_INLINE vf value() const { return to<vf>(v); }
  KW_INLINE float fold() const { return static_cast<float>(scalar); }
};
template <>
struct Total<float> {
  double v = 0;
  KW_INLINE void merge(const Sum<float>& o) { v += o.v; }
  KW_INLINE void merge_fold(const Sum<float>& o) { v += o.v; }
  KW_INLINE float value() const { return static_cast<float>(v); }
  KW_INLINE float fold() const { return static_cast<float>(v); }
};

// Position of the largest (or smallest) value: the first one, and a NaN beats every number, as in torch. Until something
// beats the identity the position is unset; if nothing ever does, all values equal the identity and the answer is 0.
template <class V, bool Largest>
struct Arg {
  typedef scalar_t<V> S;
  static constexpr bool vector = is_vector<V>;
  typedef decltype(gt(V{}, V{})) M;
  static constexpr int32_t unset = INT32_MAX;
  template <bool IsVector, class = void>
  struct Position {
    typedef vi type;
  };
  template <class D>
  struct Position<false, D> {
    typedef int32_t type;
  };
  typedef typename Position<vector>::type P;
  V best = fill<V>(Largest ? lowest<S>() : highest<S>());
  P at = fill<P>(unset);

  static KW_INLINE M beats(V x, V y) {
    M more = Largest ? gt(x, y) : lt(x, y);
    if constexpr (S(0.5) != S(0)) return more | (ne(x, x) & eq(y, y));
    else return more;
  }
  static KW_INLINE M ties(V x, V y) {
    M equal = eq(x, y);
    if constexpr (S(0.5) != S(0)) return equal | (ne(x, x) & ne(y, y));
    else return equal;
  }
  KW_INLINE void take(M better, V x, P position) {
    best = select(better, x, best);
    at = select(better, position, at);
  }
  KW_INLINE void add(V x, P position) { take(beats(x, best), x, position); }
  KW_INLINE void add(V x, P position, int n) { take(beats(x, best) & some(n), x, position); }
  KW_INLINE void merge(const Arg& o) { take(beats(o.best, best) | (ties(o.best, best) & lt(o.at, at)), o.best, o.at); }
  KW_INLINE P value() const { return select(eq(at, fill<P>(unset)), fill<P>(0), at); }
  KW_INLINE int32_t fold() const {
    if constexpr (vector) {
      S top = Largest ? hmax(best) : hmin(best);
      int32_t position = hmin(select(ties(best, fill<V>(top)), at, fill<P>(unset)));
      return position == unset ? 0 : position;
    } else {
      return value();
    }
  }
};
template <class V>
using ArgMax = Arg<V, true>;
template <class V>
using ArgMin = Arg<V, false>;

// The sum of a block of lanes, as it meets other blocks.
KW_INLINE double whole(const Sum<vf>& s) { return hsum_d(s.v); }
KW_INLINE double whole(const Sum<vd>& s) { return hsum(s.v); }

// A sum of terms with the factor exp(-slope * top), where top is only known at the end: every block is added relative to
// the largest value so far, and what was added before moves along. An infinite (or NaN) top shifts by nothing: the terms
// themselves are then 0, infinite or NaN.
struct Shifted {
  double shift = 0, sum = 0;
  KW_INLINE double move(double top, double slope) {
    double next = top - top == 0 ? top : 0.0;
    if (next != shift) {
      if (sum != 0) sum *= __builtin_exp(slope * (shift - next));
      shift = next;
    }
    return next;
  }
  // The sum relative to another shift; nothing but zeros relative to an infinity is NaN, as exp(-inf + inf) is.
  KW_INLINE double about(double wanted, double slope) const {
    if (sum == 0) return wanted - wanted;
    return wanted == shift ? sum : sum * __builtin_exp(slope * (shift - wanted));
  }
};

// A sum of squared distances from a centre that is only known at the end: every block is added about its own mean.
struct Moments {
  double count = 0, mean = 0, sum = 0;
  // `squares` are about `centre`, which is the block's mean up to rounding.
  KW_INLINE void add(double n, double total, double centre, double squares) {
    double own = total / n, apart = own - mean, off = own - centre;
    sum += squares - n * off * off + apart * apart * (count * n / (count + n));
    mean += apart * (n / (count + n));
    count += n;
  }
  KW_INLINE double about(double centre) const { return sum + count * (mean - centre) * (mean - centre); }
};

}  // namespace kw
