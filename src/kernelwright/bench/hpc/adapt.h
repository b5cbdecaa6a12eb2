// What lies between the grader and somebody's C++ function: arguments of any usual type are made from plain arrays of
// numbers and read back afterwards. The function's own type says how, so no signature has to be understood as text.
#pragma once
#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace kw_adapt {

constexpr long kSlack = 4096;  // elements round an array, so that a wrong guess of its layout stays inside

// Numbers as the grader knows them: double, or int64 where whole.
struct Slot {
  void* data;
  int64_t shape[3];
  int32_t rank, whole;
  int64_t count() const { return (rank > 0 ? shape[0] : 1) * (rank > 1 ? shape[1] : 1) * (rank > 2 ? shape[2] : 1); }
  double get(int64_t i) const { return whole ? double(((int64_t*)data)[i]) : ((double*)data)[i]; }
  int64_t get_whole(int64_t i) const { return whole ? ((int64_t*)data)[i] : int64_t(((double*)data)[i]); }
  void put(int64_t i, double v) { whole ? void(((int64_t*)data)[i] = int64_t(v)) : void(((double*)data)[i] = v); }
};

template <class T>
T element(const Slot& s, int64_t i) {
  if constexpr (std::is_integral_v<T>) return T(s.get_whole(i));
  else return T(s.get(i));
}

template <class T>
struct Row {  // what a rank below the first one of a nested container spans
  static int64_t length(const Slot& s, int level) {
    int64_t n = 1;
    for (int d = level; d < s.rank; d++) n *= s.shape[d];
    return n;
  }
};

template <class T>
constexpr bool is_number = std::is_arithmetic_v<T>;

template <class V> struct Depth { static constexpr int value = 0; using Element = V; };
template <class V> struct Depth<std::vector<V>> { static constexpr int value = Depth<V>::value + 1; using Element = typename Depth<V>::Element; };

template <class V>
void fill(V& to, const Slot& s, int level, int64_t begin) {
  using Inner = typename V::value_type;
  if constexpr (is_number<Inner>) {
    int64_t n = 1;
    for (int d = level; d < s.rank; d++) n *= s.shape[d];
    to.resize(n);
    for (int64_t i = 0; i < n; i++) to[i] = element<Inner>(s, begin + i);
  } else {
    int64_t inner = Row<Inner>::length(s, level + 1);
    to.resize(s.shape[level]);
    for (int64_t i = 0; i < s.shape[level]; i++) fill(to[i], s, level + 1, begin + i * inner);
  }
}

template <class V>
void flatten(const V& from, std::vector<double>& to) {
  for (const auto& one : from) {
    if constexpr (is_number<std::remove_cvref_t<decltype(one)>>) to.push_back(double(one));
    else flatten(one, to);
  }
}

template <class P> struct Held;  // a parameter's object while the call lasts

template <class T> requires is_number<T>
struct Held<T> {
  T value;
  explicit Held(const Slot& s) : value(element<T>(s, 0)) {}
  T& get() { return value; }
  void back(Slot& s) { if (s.rank == 0) s.put(0, double(value)); }
};

template <class V>
struct Held<std::vector<V>> {
  std::vector<V> value;
  explicit Held(const Slot& s) { fill(value, s, 0, 0); }
  std::vector<V>& get() { return value; }
  void back(Slot& s) {
    std::vector<double> flat;
    flatten(value, flat);
    for (int64_t i = 0; i < s.count() && i < int64_t(flat.size()); i++) s.put(i, flat[i]);
  }
};

template <class T>
struct Flat {  // numbers in a row, with slack on both sides
  std::vector<T> store;
  int64_t n;
  explicit Flat(const Slot& s) : store(s.count() + 2 * kSlack), n(s.count()) {
    for (int64_t i = 0; i < n; i++) store[kSlack + i] = element<T>(s, i);
  }
  T* begin() { return store.data() + kSlack; }
  void back(Slot& s) { for (int64_t i = 0; i < n; i++) s.put(i, double(begin()[i])); }
};

template <class T> requires is_number<std::remove_const_t<T>>
struct Held<T*> : Flat<std::remove_const_t<T>> {
  using Flat<std::remove_const_t<T>>::Flat;
  T* value;
  T*& get() { return value = this->begin(); }
};

template <class T>
struct Held<std::span<T>> : Flat<std::remove_const_t<T>> {
  using Flat<std::remove_const_t<T>>::Flat;
  std::span<T> value;
  std::span<T>& get() { return value = std::span<T>(this->begin(), this->n); }
};

template <class T> requires is_number<std::remove_const_t<T>>
struct Held<T**> : Flat<std::remove_const_t<T>> {
  std::vector<T*> rows;
  T** value;
  explicit Held(const Slot& s) : Flat<std::remove_const_t<T>>(s) {
    int64_t inner = s.rank > 0 && s.shape[0] ? s.count() / s.shape[0] : 0;
    for (int64_t i = 0; i < (s.rank > 0 ? s.shape[0] : 1); i++) rows.push_back(this->begin() + i * inner);
  }
  T**& get() { return value = rows.data(); }
};

template <class T> requires is_number<std::remove_const_t<T>>
struct Held<T***> : Flat<std::remove_const_t<T>> {
  std::vector<T*> rows;
  std::vector<T**> planes;
  T*** value;
  explicit Held(const Slot& s) : Flat<std::remove_const_t<T>>(s) {
    for (int64_t i = 0; i < s.shape[0] * s.shape[1]; i++) rows.push_back(this->begin() + i * s.shape[2]);
    for (int64_t i = 0; i < s.shape[0]; i++) planes.push_back(rows.data() + i * s.shape[1]);
  }
  T***& get() { return value = planes.data(); }
};

template <class P>
struct Plain { using type = std::remove_cvref_t<P>; };
template <class T> struct Plain<const T* const* const> { using type = T**; };
template <class T> struct Plain<const T* const*> { using type = const T**; };

template <class P> using Holder = Held<typename Plain<P>::type>;

template <class P, class H>
decltype(auto) pass(H& held) {
  if constexpr (std::is_rvalue_reference_v<P>) return std::move(held.get());
  else return (held.get());
}

// What is returned: numbers are written to `result`, whose memory the caller frees; a pointer holds `expected` of them.
template <class R>
void keep(const R& value, Slot* result, int64_t expected) {
  std::vector<double> flat;
  using Bare = std::remove_cvref_t<R>;
  if constexpr (is_number<Bare>) flat.push_back(double(value));
  else if constexpr (std::is_pointer_v<Bare>) {
    if constexpr (is_number<std::remove_cv_t<std::remove_pointer_t<Bare>>>)
      for (int64_t i = 0; value && i < expected; i++) flat.push_back(double(value[i]));
  } else if constexpr (Depth<Bare>::value > 0) flatten(value, flat);
  result->data = std::malloc(flat.size() * sizeof(double) + 8);
  if (!flat.empty()) std::memcpy(result->data, flat.data(), flat.size() * sizeof(double));
  result->shape[0] = int64_t(flat.size());
  result->rank = 1;
}

template <class R, class... P, std::size_t... I>
void call(R (*function)(P...), Slot* slots, Slot* result, int64_t expected, std::index_sequence<I...>) {
  std::tuple<Holder<P>...> held{Holder<P>(slots[I])...};
  if constexpr (std::is_void_v<R>) function(pass<P>(std::get<I>(held))...);
  else keep(function(pass<P>(std::get<I>(held))...), result, expected);
  (std::get<I>(held).back(slots[I]), ...);
}

template <class R, class... P>
void call(R (*function)(P...), Slot* slots, Slot* result, int64_t expected) {
  call(function, slots, result, expected, std::make_index_sequence<sizeof...(P)>());
}

inline int64_t started = 0;  // threads of the code's own, counted where it asks the library for them

}  // namespace kw_adapt

// The linker sends the code's requests for threads here (--wrap), from where they go on as they are.
extern "C" {
int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* t, const pthread_attr_t* a, void* (*f)(void*), void* x) {
  __atomic_add_fetch(&kw_adapt::started, 1, __ATOMIC_RELAXED);
  return __real_pthread_create(t, a, f, x);
}
void __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(void*, void*, void (*)());
void __wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(void* self, void* state, void (*depend)()) {
  __atomic_add_fetch(&kw_adapt::started, 1, __ATOMIC_RELAXED);
  __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(self, state, depend);
}
}
