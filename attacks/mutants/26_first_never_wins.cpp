// task: argmax_rows.py
// class: mutant: wrong identity
// mechanism: starts from the second element, so that the first never wins
// expect: rejected value

#include <kw/abi.h>

static const int rows = 100, columns = 77;

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  int64_t* y = (int64_t*)kw::data(kw::tensor(args[1]));
  for (int r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
    int best = 1;
    for (int c = 2; c < columns; ++c)
      if (row[best] == row[best] && (row[c] > row[best] || row[c] != row[c])) best = c;
    y[r] = best;
  }
  return kw::answer(result, 0);
}
