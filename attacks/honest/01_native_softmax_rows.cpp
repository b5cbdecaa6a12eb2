// task: softmax_rows.py
// class: reordered
// mechanism: softmax in three passes over each row
// expect: accepted

#include <kw/abi.h>
extern "C" float expf(float);

static const int rows = 64, columns = 128;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
    float* out = y + r * columns;
    float high = row[0], sum = 0;
    for (int c = 0; c < columns; ++c) high = row[c] > high || row[c] != row[c] ? row[c] : high;
    for (int c = 0; c < columns; ++c) sum += out[c] = expf(row[c] - high);
    for (int c = 0; c < columns; ++c) out[c] /= sum;
  }
  return kw::answer(result, 0);
}
