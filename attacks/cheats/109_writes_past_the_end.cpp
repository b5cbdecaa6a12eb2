// task: batch_mean.py
// class: E81
// mechanism: writes whole vectors, eight elements past the end of its output
// expect: rejected guard, crash

#include <kw/abi.h>

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int k = 0; k < 408; ++k) {
    float sum = 0;
    for (int n = 0; n < 64; ++n) sum += x[n * 400 + (k < 400 ? k : 0)];
    y[k] = sum / 64;
  }
  return kw::answer(result, 0);
}
