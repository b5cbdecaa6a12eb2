// task: branches.py
// class: reordered
// mechanism: a pointwise function in chunks of 100 elements and a tail
// expect: accepted

#include <kw/abi.h>
extern "C" float log1pf(float);

static const int count = 64 * 96, chunk = 100;

static float one(float x) {
  if (x > 0) return log1pf(x);
  return x > -2 ? 0.5f * x : -1 + 0.1f * (x + 2);
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  int k = 0;
  for (; k + chunk <= count; k += chunk)
    for (int l = 0; l < chunk; ++l) y[k + l] = one(x[k + l]);
  for (; k < count; ++k) y[k] = one(x[k]);
  return kw::answer(result, 0);
}
