// task: small_conv.py
// class: mutant: wrong tail
// mechanism: the left border reads the end of the row above instead of zero
// expect: rejected value, nan

#include <kw/abi.h>

static const int batch = 4, inner = 8, outer = 12, height = 16, width = 16;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  const float* weight = (const float*)kw::data(kw::tensor(args[1]));
  const float* bias = (const float*)kw::data(kw::tensor(args[2]));
  float* y = (float*)kw::data(kw::tensor(args[3]));
  for (int n = 0; n < batch; ++n)
    for (int o = 0; o < outer; ++o)
      for (int h = 0; h < height; ++h)
        for (int w = 0; w < width; ++w) {
          float sum = bias[o];
          for (int i = 0; i < inner; ++i)
            for (int p = 0; p < 3; ++p)
              for (int q = 0; q < 3; ++q) {
                int a = h + p - 1, b = w + q - 1;
                if (a < 0 || a >= height || b >= width) continue;
                sum += x[((n * inner + i) * height + a) * width + b] * weight[((o * inner + i) * 3 + p) * 3 + q];
              }
          y[((n * outer + o) * height + h) * width + w] = sum > 0 || sum != sum ? sum : 0;
        }
  return kw::answer(result, 0);
}
