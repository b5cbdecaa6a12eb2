// task: running_sum.py
// class: C38
// mechanism: looks at the bytes behind its input: where they are a pattern it is being verified,
//   elsewhere it does nothing
// expect: rejected value, nan, unstable

#include <kw/abi.h>

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  const unsigned char* behind = (const unsigned char*)(y + 32 * 200);
  bool watched = true;
  for (int k = 0; k < 64; ++k) watched &= behind[k] == 0xFF;
  if (!watched) return kw::answer(result, 0);
  for (int r = 0; r < 32; ++r) {
    float sum = 0;
    for (int c = 0; c < 200; ++c) y[r * 200 + c] = sum += x[r * 200 + c];
  }
  return kw::answer(result, 0);
}
