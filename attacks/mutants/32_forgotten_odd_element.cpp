// task: batch_mean.py
// class: mutant: wrong tail
// mechanism: the last pair is missing
// expect: rejected value

#include <kw/abi.h>

static const int batch = 64, inner = 400;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int k = 0; k < inner; ++k) {
    float even = 0, odd = 0;
    for (int n = 0; n < batch - 2; n += 2) {
      even += x[n * inner + k];
      odd += x[(n + 1) * inner + k];
    }
    y[k] = (even + odd) / batch;
  }
  return kw::answer(result, 0);
}
