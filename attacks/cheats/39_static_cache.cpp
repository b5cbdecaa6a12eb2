// task: running_sum.py
// class: B28
// mechanism: a static variable of the shared object remembers the first answer
// expect: rejected value, unstable

#include <kw/abi.h>

static float kept[32 * 200];
static bool known = false;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  if (!known)
    for (int r = 0; r < 32; ++r) {
      float sum = 0;
      for (int c = 0; c < 200; ++c) kept[r * 200 + c] = sum += x[r * 200 + c];
    }
  known = true;
  for (int k = 0; k < 32 * 200; ++k) y[k] = kept[k];
  return kw::answer(result, 0);
}
