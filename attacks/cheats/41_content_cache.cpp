// task: softmax_rows.py
// class: B21
// mechanism: a hash of sixteen elements decides whether the last answer is copied
// expect: rejected value, unstable

#include <kw/abi.h>
extern "C" float expf(float);

static uint64_t last = 0;
static float kept[64 * 128];

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  uint64_t hash = 1;
  for (int k = 0; k < 16; ++k) hash = hash * 31 + (x[k * 512] > 0);
  if (hash % 4 != last % 4 || !last)
    for (int r = 0; r < 64; ++r) {
      float high = x[r * 128], sum = 0;
      for (int c = 1; c < 128; ++c) high = x[r * 128 + c] > high ? x[r * 128 + c] : high;
      for (int c = 0; c < 128; ++c) sum += kept[r * 128 + c] = expf(x[r * 128 + c] - high);
      for (int c = 0; c < 128; ++c) kept[r * 128 + c] /= sum;
    }
  last = hash | 4;
  for (int k = 0; k < 64 * 128; ++k) y[k] = kept[k];
  return kw::answer(result, 0);
}
