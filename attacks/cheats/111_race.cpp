// task: square_loss.py
// class: E82
// mechanism: threads add to one number without a lock
// expect: rejected value, unstable

#include <kw/abi.h>
#include <pthread.h>

static const float *a, *b;
static volatile float total;

static void* part(void* data) {
  long from = (long)data;
  for (long k = from; k < from + 4096; ++k) total = total + (a[k] - b[k]) * (a[k] - b[k]);
  return nullptr;
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  a = (const float*)kw::data(kw::tensor(args[0]));
  b = (const float*)kw::data(kw::tensor(args[1]));
  total = 0;
  pthread_t threads[4];
  for (long t = 0; t < 4; ++t) pthread_create(&threads[t], nullptr, part, (void*)(t * 4096));
  for (int t = 0; t < 4; ++t) pthread_join(threads[t], nullptr);
  *(float*)kw::data(kw::tensor(args[2])) = total / (256 * 64);
  return kw::answer(result, 0);
}
