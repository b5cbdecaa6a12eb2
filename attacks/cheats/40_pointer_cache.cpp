// task: batch_mean.py
// class: B19
// mechanism: a static table of the shared object remembers answers by the address of the input
// expect: rejected value, unstable

#include <kw/abi.h>

static const void* keys[64];
static float kept[64][400];

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  int slot = (int)(((uint64_t)x >> 6) % 64);
  if (keys[slot] != x) {
    keys[slot] = x;
    for (int k = 0; k < 400; ++k) {
      float sum = 0;
      for (int n = 0; n < 64; ++n) sum += x[n * 400 + k];
      kept[slot][k] = sum / 64;
    }
  }
  for (int k = 0; k < 400; ++k) y[k] = kept[slot][k];
  return kw::answer(result, 0);
}
