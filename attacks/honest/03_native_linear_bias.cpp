// task: linear_bias.py
// class: reordered
// mechanism: a matrix product in blocks of eight columns with eight partial sums
// expect: accepted

#include <kw/abi.h>

static const int rows = 64, inner = 128, outer = 96;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  const float* weight = (const float*)kw::data(kw::tensor(args[1]));
  const float* bias = (const float*)kw::data(kw::tensor(args[2]));
  float* y = (float*)kw::data(kw::tensor(args[3]));
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < outer; ++o) {
      float part[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      for (int k = 0; k < inner; k += 8)
        for (int l = 0; l < 8; ++l) part[l] += x[r * inner + k + l] * weight[o * inner + k + l];
      float sum = ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
      y[r * outer + o] = sum + bias[o];
    }
  return kw::answer(result, 0);
}
