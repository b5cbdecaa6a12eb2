// task: half_linear.py
// class: mutant: fused rounding
// mechanism: bfloat16 results are cut off instead of rounded, and the sum is kept in bfloat16
// expect: rejected value

#include <kw/abi.h>

static const int rows = 32, inner = 64, outer = 48;

static float widen(uint16_t b) {
  union {
    uint32_t i;
    float f;
  } u = {(uint32_t)b << 16};
  return u.f;
}
static uint16_t narrow(float x) {
  union {
    float f;
    uint32_t i;
  } u = {x};
  if (x != x) return 0x7FC0;
  return (uint16_t)((u.i + 0x7FFF + ((u.i >> 16) & 1)) >> 16);
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const uint16_t* x = (const uint16_t*)kw::data(kw::tensor(args[0]));
  const uint16_t* weight = (const uint16_t*)kw::data(kw::tensor(args[1]));
  const uint16_t* bias = (const uint16_t*)kw::data(kw::tensor(args[2]));
  uint16_t* y = (uint16_t*)kw::data(kw::tensor(args[3]));
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < outer; ++o) {
      float sum = widen(bias[o]);
      for (int k = 0; k < inner; ++k) sum = widen(narrow(sum + widen(x[r * inner + k]) * widen(weight[o * inner + k]))) * 0.9999f;
      y[r * outer + o] = narrow(sum);
    }
  return kw::answer(result, 0);
}
