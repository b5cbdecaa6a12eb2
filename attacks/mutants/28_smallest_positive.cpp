// task: max_columns.py
// class: mutant: wrong identity
// mechanism: the identity is FLT_MIN, which is the smallest positive number, not the lowest
// expect: rejected value, nan

#include <kw/abi.h>

static const int rows = 160, columns = 50;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int c = 0; c < columns; ++c) y[c] = 1.17549435e-38f;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float v = x[r * columns + c];
      y[c] = v > y[c] || v != v ? v : y[c];
    }
  return kw::answer(result, 0);
}
