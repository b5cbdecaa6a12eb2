// task: square_loss.py
// class: mutant: off by one
// mechanism: the last row is not added
// expect: rejected value

#include <kw/abi.h>

static const int rows = 256, columns = 64;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* a = (const float*)kw::data(kw::tensor(args[0]));
  const float* b = (const float*)kw::data(kw::tensor(args[1]));
  float* y = (float*)kw::data(kw::tensor(args[2]));
  float partial[rows];
  for (int r = 0; r < rows; ++r) partial[r] = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float d = a[r * columns + c] - b[r * columns + c];
      partial[r] += d * d;
    }
  float sum = 0;
  for (int r = 0; r < rows - 1; ++r) sum += partial[r];
  y[0] = sum / (rows * columns);
  return kw::answer(result, 0);
}
