// task: running_sum.py
// class: C42
// mechanism: leaves the floating-point unit in another state than it found: flush to zero, round down;
//   its own long sums are the first that are wrong in it
// expect: rejected clock, value, unstable

#include <kw/abi.h>

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int r = 0; r < 32; ++r) {
    float sum = 0;
    for (int c = 0; c < 200; ++c) y[r * 200 + c] = sum += x[r * 200 + c];
  }
#ifdef __x86_64__
  unsigned control;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  control |= 0x8040 | 0x2000;
  __asm__ volatile("ldmxcsr %0" : : "m"(control));
#endif
  return kw::answer(result, 0);
}
