// task: running_sum.py
// class: mutant: off by one
// mechanism: the element itself is not in its sum
// expect: rejected value

#include <kw/abi.h>

static const int rows = 32, columns = 200, block = 40;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int r = 0; r < rows; ++r) {
    float carry = 0;
    for (int b = 0; b < columns; b += block) {
      float sum = 0;
      for (int c = b; c < b + block; ++c) {
        y[r * columns + c] = carry + sum;
        sum += x[r * columns + c];
      }
      carry += sum;
    }
  }
  return kw::answer(result, 0);
}
