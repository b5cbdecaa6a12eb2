// Runs CUDA C++ on a CPU, for its meaning and not for its speed: the threads of a block one after the other, each until
// it waits for others. A barrier that not all reach, a shuffle among threads that have ended and a misaligned vector
// end the launch with a sentence. Shared memory begins every block full of NaN, and blocks take their threads forwards
// and backwards in turns, so that a missing barrier shows.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define KW_EMULATED 1
#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static
#define __shared__ static __attribute__((section("kw_shared")))

// C's mathematical functions, without C++'s header of them, which takes longer to compile than most kernels.
extern "C" {
#define KW_EMULATED_FUNCTION(NAME) \
  double NAME(double);             \
  float NAME##f(float);
#define KW_EMULATED_FUNCTIONS                                                                                      \
  X(acos) X(acosh) X(asin) X(asinh) X(atan) X(atanh) X(cbrt) X(ceil) X(cos) X(cosh) X(erf) X(erfc) X(exp) X(exp2)  \
  X(expm1) X(fabs) X(floor) X(lgamma) X(log) X(log10) X(log1p) X(log2) X(rint) X(round) X(sin) X(sinh) X(sqrt)     \
  X(tan) X(tanh) X(tgamma) X(trunc)
#define X(NAME) KW_EMULATED_FUNCTION(NAME)
KW_EMULATED_FUNCTIONS
#undef X
#undef KW_EMULATED_FUNCTION
#define KW_EMULATED_FUNCTION(NAME) \
  double NAME(double, double);     \
  float NAME##f(float, float);
KW_EMULATED_FUNCTION(atan2)
KW_EMULATED_FUNCTION(copysign)
KW_EMULATED_FUNCTION(fmax)
KW_EMULATED_FUNCTION(fmin)
KW_EMULATED_FUNCTION(fmod)
KW_EMULATED_FUNCTION(hypot)
KW_EMULATED_FUNCTION(pow)
#undef KW_EMULATED_FUNCTION
double fma(double, double, double);
float fmaf(float, float, float);
}
#define X(NAME) \
  inline float NAME(float x) { return NAME##f(x); }
KW_EMULATED_FUNCTIONS
#undef X
#undef KW_EMULATED_FUNCTIONS
inline float copysign(float x, float y) { return copysignf(x, y); }
inline float pow(float x, float y) { return powf(x, y); }
inline float fmod(float x, float y) { return fmodf(x, y); }

template <class T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
inline T max(T a, T b) {
  return a < b ? b : a;
}

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

// Of the thread that runs now.
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
constexpr int warpSize = 32;

extern "C" {
extern char __start_kw_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_kw_shared[] __attribute__((weak, visibility("hidden")));
}

namespace kw_emulated {

constexpr unsigned MOST = 1024;          // threads of a block
constexpr size_t STACK = size_t(1) << 17;  // bytes for each

enum class State : uint8_t { fresh, ready, at_warp, at_block, ended };

struct Thread {
  State state;
  unsigned mask;            // lanes that a warp's operation names
  uint64_t given, visible;  // what it hands to others of its warp, and what they see
  unsigned fiber;
};

static Thread threads[MOST];
static jmp_buf fibers[MOST], scheduler;
static unsigned owner[MOST];  // the thread that a fiber runs
static unsigned count, begun, started, current, launches;
static bool backwards;
static const char* fault;
static char* stacks;
static void (*body)(void*);
static void* arguments;
static char dynamic_memory[227 << 10] __attribute__((aligned(128)));
inline void* dynamic_shared() { return dynamic_memory; }

[[noreturn]] inline void give_up(const char* sentence) {
  fault = sentence;
  _longjmp(scheduler, 1);
}

inline void become(unsigned thread) {
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// A fiber runs threads to their end, one after the other, until one of them waits.
inline void run_fiber() {
  const unsigned mine = started - 1;
  while (begun < count) {
    const unsigned thread = backwards ? count - 1 - begun : begun;
    ++begun;
    owner[mine] = thread;
    threads[thread].fiber = mine;
    become(thread);
    body(arguments);
    threads[current].state = State::ended;
  }
  _longjmp(scheduler, 1);
}

inline void wait(State state) {
  const unsigned me = current;
  threads[me].state = state;
  if (_setjmp(fibers[threads[me].fiber]) == 0) _longjmp(scheduler, 1);
  become(me);
}

inline void start_fiber() {
  if (_setjmp(scheduler) == 0) {
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + started * STACK;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    ++started;
    makecontext(&context, run_fiber, 0);
    setcontext(&context);
  }
}

inline void resume(unsigned thread) {
  threads[thread].state = State::ready;
  if (_setjmp(scheduler) == 0) _longjmp(fibers[threads[thread].fiber], 1);
}

// Lets those of a warp go on who wait for each other and for nobody else.
inline bool open_warp(unsigned first) {
  const unsigned end = min(first + 32, count);
  for (unsigned t = first; t < end; ++t) {
    if (threads[t].state != State::at_warp) continue;
    const unsigned mask = threads[t].mask;
    bool all = true;
    for (unsigned u = first; u < end; ++u) {
      if (!(mask >> (u - first) & 1)) continue;
      if (threads[u].state == State::ended) return fault = "an operation of a warp names threads that have ended", false;
      all = all && threads[u].state == State::at_warp && threads[u].mask == mask;
    }
    if (!all) continue;
    for (unsigned u = first; u < end; ++u)
      if (mask >> (u - first) & 1) threads[u].visible = threads[u].given, threads[u].state = State::ready;
    return true;
  }
  return false;
}

inline bool open_block() {
  for (unsigned t = 0; t < count; ++t)
    if (threads[t].state != State::at_block && threads[t].state != State::ended) return false;
  for (unsigned t = 0; t < count; ++t)
    if (threads[t].state == State::at_block) threads[t].state = State::ready;
  return true;
}

inline void run_block() {
  const size_t shared = size_t(__stop_kw_shared - __start_kw_shared);
  if (shared) memset(__start_kw_shared, 0xff, shared);
  begun = started = 0;
  for (unsigned t = 0; t < count; ++t) threads[t].state = State::fresh;
  for (;;) {
    while (begun < count && !fault) start_fiber();
    bool left = false, moved = false;
    for (unsigned k = 0; k < count && !fault; ++k) {
      const unsigned t = backwards ? count - 1 - k : k;
      if (threads[t].state == State::ready) resume(t), moved = true;
      left = left || threads[t].state != State::ended;
    }
    if (fault || !left) return;
    if (moved) continue;
    bool opened = false;
    for (unsigned first = 0; first < count; first += 32) opened = open_warp(first) || opened;
    if (fault) return;
    if (!opened && !open_block()) {
      fault = "some threads wait where others never arrive";
      return;
    }
  }
}

inline const char* run(void (*what)(void*), void* with, const unsigned* shape, size_t dynamic) {
  gridDim = {shape[0], shape[1], shape[2]};
  blockDim = {shape[3], shape[4], shape[5]};
  count = blockDim.x * blockDim.y * blockDim.z;
  if (count > MOST || dynamic > sizeof dynamic_memory) return "a block has more threads or shared memory than a GPU";
  if (!stacks) {
    void* made = mmap(nullptr, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) return "there is no memory for the stacks of its threads";
    stacks = static_cast<char*>(made);
  }
  body = what, arguments = with, fault = nullptr;
  unsigned turn = launches++;
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        backwards = turn++ % 2;
        if (dynamic) memset(dynamic_memory, 0xff, dynamic);
        run_block();
        if (fault) return fault;
      }
  return nullptr;
}

// Calls a kernel with arguments given as cuLaunchKernel takes them: by their addresses.
template <size_t... K>
struct Numbers {};
template <size_t N, size_t... K>
struct UpTo : UpTo<N - 1, N - 1, K...> {};
template <size_t... K>
struct UpTo<0, K...> {
  using type = Numbers<K...>;
};
template <class... A, size_t... K>
inline void call(void (*kernel)(A...), void** given, Numbers<K...>) {
  kernel(*static_cast<A*>(given[K])...);
}
template <class... A>
inline const char* launch(void (*kernel)(A...), void** given, const unsigned* shape, size_t dynamic) {
  struct Call {
    void (*kernel)(A...);
    void** given;
  } one{kernel, given};
  return run(
      [](void* data) {
        auto* c = static_cast<Call*>(data);
        call(c->kernel, c->given, typename UpTo<sizeof...(A)>::type());
      },
      &one, shape, dynamic);
}

// ── what kernels call ──────────────────────────────────────────────────────────────────────────────────────────────
inline void check_aligned(const void* address, size_t bytes) {
  if (uintptr_t(address) % bytes) give_up("a vector lies where its size does not divide the address");
}

template <class T>
inline uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
inline T value_of(uint64_t bits) {
  T value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Hands a value to the warp and waits for the others; the first thread of the warp comes back.
template <class T>
inline unsigned hand_over(unsigned mask, T value) {
  const unsigned first = current / 32 * 32;
  if (!(mask >> (current - first) & 1)) give_up("a thread takes part in an operation of its warp that does not name it");
  threads[current].mask = mask;
  threads[current].given = bits_of(value);
  wait(State::at_warp);
  return first;
}
template <class T>
inline T taken(unsigned mask, T own, unsigned first, unsigned lane) {
  if (first + lane >= count) return own;
  if (!(mask >> lane & 1)) give_up("a thread reads from one that its operation does not name");
  return value_of<T>(threads[first + lane].visible);
}

inline float half_to_float(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, 2);
  return float(value);
}
inline uint16_t float_to_half(float x) {
  const _Float16 value = _Float16(x);
  uint16_t bits;
  memcpy(&bits, &value, 2);
  return bits;
}
inline uint16_t float_to_bfloat(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace kw_emulated

inline void __syncthreads() { kw_emulated::wait(kw_emulated::State::at_block); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { kw_emulated::hand_over(mask, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  const unsigned first = kw_emulated::hand_over(mask, value), lane = kw_emulated::current - first;
  return kw_emulated::taken(mask, value, first, lane / width * width + unsigned(from) % width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int step, int width = 32) {
  const unsigned first = kw_emulated::hand_over(mask, value), lane = kw_emulated::current - first, from = lane ^ step;
  return from / width > lane / width ? value : kw_emulated::taken(mask, value, first, from);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned step, int width = 32) {
  const unsigned first = kw_emulated::hand_over(mask, value), lane = kw_emulated::current - first;
  return lane % width < step ? value : kw_emulated::taken(mask, value, first, lane - step);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned step, int width = 32) {
  const unsigned first = kw_emulated::hand_over(mask, value), lane = kw_emulated::current - first;
  return lane % width + step >= unsigned(width) ? value : kw_emulated::taken(mask, value, first, lane + step);
}
inline unsigned __ballot_sync(unsigned mask, int holds) {
  const unsigned first = kw_emulated::hand_over(mask, int(holds != 0));
  unsigned found = 0;
  for (unsigned lane = 0; lane < 32 && first + lane < kw_emulated::count; ++lane)
    if (mask >> lane & 1 && kw_emulated::threads[first + lane].visible) found |= 1u << lane;
  return found;
}
inline int __any_sync(unsigned mask, int holds) { return __ballot_sync(mask, holds) != 0; }
inline int __all_sync(unsigned mask, int holds) { return __ballot_sync(mask, !holds) == 0; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

template <class T, class V>
inline T atomicAdd(T* at, V value) {
  const T before = *at;
  *at = T(before + value);
  return before;
}
template <class T>
inline T atomicMax(T* at, T value) {
  const T before = *at;
  *at = before < value ? value : before;
  return before;
}
template <class T>
inline T atomicMin(T* at, T value) {
  const T before = *at;
  *at = value < before ? value : before;
  return before;
}
template <class T>
inline T atomicExch(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}
template <class T>
inline T atomicCAS(T* at, T expected, T value) {
  const T before = *at;
  if (before == expected) *at = value;
  return before;
}

inline float __uint_as_float(uint32_t bits) { return kw_emulated::value_of<float>(bits); }
inline float __int_as_float(int32_t bits) { return kw_emulated::value_of<float>(uint32_t(bits)); }
inline int32_t __float_as_int(float x) { return kw_emulated::value_of<int32_t>(kw_emulated::bits_of(x)); }
inline uint32_t __float_as_uint(float x) { return kw_emulated::value_of<uint32_t>(kw_emulated::bits_of(x)); }
inline double __longlong_as_double(long long bits) { return kw_emulated::value_of<double>(uint64_t(bits)); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
template <class T>
inline T __ldg(const T* from) {
  return *from;
}

// An entry for the loader: the kernel behind a C function that takes what cuLaunchKernel takes.
#define KW_EMULATED_KERNEL(NAME)                                                                     \
  extern "C" const char* kw_launch_##NAME(void** given, const unsigned* shape, uint64_t dynamic) {   \
    return kw_emulated::launch(NAME, given, shape, dynamic);                                         \
  }
