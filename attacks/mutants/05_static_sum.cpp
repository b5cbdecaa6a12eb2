// task: square_loss.py
// class: mutant: stale scratch
// mechanism: partial sums are static and cleared only by the loader
// expect: rejected value, unstable

#include <kw/abi.h>

static const int rows = 256, columns = 64;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* a = (const float*)kw::data(kw::tensor(args[0]));
  const float* b = (const float*)kw::data(kw::tensor(args[1]));
  float* y = (float*)kw::data(kw::tensor(args[2]));
  static float partial[rows];
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float d = a[r * columns + c] - b[r * columns + c];
      partial[r] += d * d;
    }
  float sum = 0;
  for (int r = 0; r < rows; ++r) sum += partial[r];
  y[0] = sum / (rows * columns);
  return kw::answer(result, 0);
}
