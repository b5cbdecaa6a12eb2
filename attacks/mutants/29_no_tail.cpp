// task: branches.py
// class: mutant: wrong tail
// mechanism: the elements after the last whole chunk are not written
// expect: rejected value, nan

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
  return kw::answer(result, 0);
}
