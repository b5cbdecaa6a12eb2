// task: layer_norm.py
// class: reordered
// mechanism: layer norm with two passes for mean and variance
// expect: accepted

#include <kw/abi.h>
extern "C" float sqrtf(float);

static const int rows = 48, columns = 96;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  const float* weight = (const float*)kw::data(kw::tensor(args[1]));
  const float* bias = (const float*)kw::data(kw::tensor(args[2]));
  float* y = (float*)kw::data(kw::tensor(args[3]));
  for (int r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
    float mean = 0, square = 0;
    for (int c = 0; c < columns; ++c) mean += row[c];
    mean /= columns;
    for (int c = 0; c < columns; ++c) square += (row[c] - mean) * (row[c] - mean);
    float scale = 1 / sqrtf(square / columns + 1e-3f);
    for (int c = 0; c < columns; ++c) y[r * columns + c] = (row[c] - mean) * scale * weight[c] + bias[c];
  }
  return kw::answer(result, 0);
}
