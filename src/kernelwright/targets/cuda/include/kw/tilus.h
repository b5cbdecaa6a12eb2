// What generated tile programs call: copies that go on while others compute, products on the matrix units, and pairs of
// 16-bit floats in a word. The emulator's versions do the same one thread at a time; a copy happens there no sooner than
// somebody waits for it.
#pragma once
#include <kw/cuda.h>

namespace kw::tilus {

#if defined(KW_EMULATED)

struct Copy {
  void* to;
  const void* from;
  int bytes;
};
constexpr int MOST_COPIES = 256;  // that a thread has under way, ends of groups included
struct Copies {
  Copy queue[MOST_COPIES];
  int count, groups;
};
static Copies copies[kw_emulated::MOST];
inline Copies& mine() { return copies[threadIdx.x]; }

inline void copy_begin() { mine().count = mine().groups = 0; }
inline void queue(Copy copy) {
  if (mine().count == MOST_COPIES) kw_emulated::give_up("a thread begins more copies than it waits for");
  mine().queue[mine().count++] = copy;
}
template <int BYTES>
inline void copy_async(void* to, const void* from, bool inside) {
  kw_emulated::check_aligned(to, BYTES);
  if (inside) kw_emulated::check_aligned(from, BYTES);
  memset(to, 0xff, BYTES);
  queue({to, inside ? from : nullptr, BYTES});
}
inline void copy_commit() {
  queue({nullptr, nullptr, 0});
  ++mine().groups;
}
template <int PENDING>
inline void copy_wait() {
  Copies& all = mine();
  int done = 0;
  while (all.groups > PENDING) {
    const Copy& copy = all.queue[done++];
    if (!copy.to) --all.groups;
    else if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
    else memset(copy.to, 0, copy.bytes);
  }
  all.count -= done;
  memmove(all.queue, all.queue + done, all.count * sizeof(Copy));
}

inline float half_of(uint32_t pair, int k) { return to_float(f16{uint16_t(pair >> 16 * k)}); }
inline float bfloat_of(uint32_t pair, int k) { return to_float(bf16{uint16_t(pair >> 16 * k)}); }
inline uint32_t pair_f16(float a, float b) { return to_f16(a).bits | uint32_t(to_f16(b).bits) << 16; }
inline uint32_t pair_bf16(float a, float b) { return to_bf16(a).bits | uint32_t(to_bf16(b).bits) << 16; }
inline uint32_t fma_f16(uint32_t a, uint32_t b, uint32_t c) {
  return pair_f16(fmaf(half_of(a, 0), half_of(b, 0), half_of(c, 0)), fmaf(half_of(a, 1), half_of(b, 1), half_of(c, 1)));
}
inline uint32_t fma_bf16(uint32_t a, uint32_t b, uint32_t c) {
  return pair_bf16(fmaf(bfloat_of(a, 0), bfloat_of(b, 0), bfloat_of(c, 0)),
                   fmaf(bfloat_of(a, 1), bfloat_of(b, 1), bfloat_of(c, 1)));
}
inline uint32_t funnel(uint32_t low, uint32_t high, int by) { return uint32_t((uint64_t(high) << 32 | low) >> by); }
inline uint32_t pick(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t all = uint64_t(b) << 32 | a;
  uint32_t made = 0;
  for (int k = 0; k < 4; ++k) made |= (uint32_t(all >> 8 * (selector >> 4 * k & 7)) & 255u) << 8 * k;
  return made;
}

// Fragments as the PTX manual lays them out for m16n8k16: everybody shows theirs to the warp.
static uint32_t fragments[kw_emulated::MOST][6];
template <float (*VALUE)(uint32_t, int)>
inline void mma(uint32_t* c, const uint32_t* a, const uint32_t* b) {
  const int lane = threadIdx.x % 32, first = threadIdx.x - lane;
  for (int k = 0; k < 6; ++k) fragments[threadIdx.x][k] = k < 4 ? a[k] : b[k - 4];
  __syncwarp();
  for (int r = 0; r < 4; ++r) {
    const int row = lane / 4 + r / 2 * 8, column = lane % 4 * 2 + r % 2;
    float sum = __uint_as_float(c[r]);
    for (int k = 0; k < 16; ++k) {
      const int pair = k % 8 / 2;
      const uint32_t x = fragments[first + row % 8 * 4 + pair][row / 8 + k / 8 * 2];
      const uint32_t w = fragments[first + column * 4 + pair][4 + k / 8];
      sum += VALUE(x, k % 2) * VALUE(w, k % 2);
    }
    c[r] = __float_as_uint(sum);
  }
  __syncwarp();
}
inline void mma_f16(uint32_t* c, const uint32_t* a, const uint32_t* b) { mma<half_of>(c, a, b); }
inline void mma_bf16(uint32_t* c, const uint32_t* a, const uint32_t* b) { mma<bfloat_of>(c, a, b); }

#else

KW_DEVICE void copy_begin() {}
// 0 bytes are read where the source lies outside: the rest is filled with zeros.
template <int BYTES>
KW_DEVICE void copy_async(void* to, const void* from, bool inside) {
  const unsigned address = unsigned(__cvta_generic_to_shared(to));
  const int given = inside ? BYTES : 0;
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(given) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(BYTES), "r"(given)
                 : "memory");
}
KW_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING>
KW_DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

KW_DEVICE uint32_t pair_f16(float a, float b) {
  uint32_t made;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(made) : "f"(b), "f"(a));
  return made;
}
KW_DEVICE uint32_t pair_bf16(float a, float b) {
  uint32_t made;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(made) : "f"(b), "f"(a));
  return made;
}
KW_DEVICE float half_of(uint32_t pair, int k) { return to_float(f16{uint16_t(pair >> 16 * k)}); }
KW_DEVICE float bfloat_of(uint32_t pair, int k) { return to_float(bf16{uint16_t(pair >> 16 * k)}); }
KW_DEVICE uint32_t fma_f16(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t made;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(made) : "r"(a), "r"(b), "r"(c));
  return made;
}
KW_DEVICE uint32_t fma_bf16(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t made;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(made) : "r"(a), "r"(b), "r"(c));
  return made;
}
KW_DEVICE uint32_t funnel(uint32_t low, uint32_t high, int by) { return __funnelshift_r(low, high, by); }
KW_DEVICE uint32_t pick(uint32_t a, uint32_t b, uint32_t selector) { return __byte_perm(a, b, selector); }

#define KW_TILUS_MMA(NAME, KIND)                                                                                     \
  KW_DEVICE void NAME(uint32_t* c, const uint32_t* a, const uint32_t* b) {                                           \
    float d[4];                                                                                                      \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." KIND "." KIND ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "        \
        "{%10,%11,%12,%13};"                                                                                         \
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                             \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(__uint_as_float(c[0])),              \
          "f"(__uint_as_float(c[1])), "f"(__uint_as_float(c[2])), "f"(__uint_as_float(c[3])));                       \
    for (int k = 0; k < 4; ++k) c[k] = __float_as_uint(d[k]);                                                        \
  }
KW_TILUS_MMA(mma_f16, "f16")
KW_TILUS_MMA(mma_bf16, "bf16")
#undef KW_TILUS_MMA

#endif

// One byte of a word, exactly, as a float: 2^23 plus it, less `zero`, which includes the 2^23.
KW_DEVICE float byte_less(uint32_t word, int byte, float zero) {
  return __uint_as_float(pick(word, 0x4b000000u, 0x7440u | unsigned(byte))) - zero;
}

}  // namespace kw::tilus
