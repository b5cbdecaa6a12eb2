// task: batch_mean.py
// class: mutant: race
// mechanism: threads add into the same element without a lock
// expect: rejected value, unstable, nan, crash

#include <kw/abi.h>
#include <pthread.h>

static const int batch = 64, inner = 400, workers = 4;
static const float* from;
static volatile float sums[inner];

static void* part(void* data) {
  long first = (long)data;
  for (int n = first; n < batch; n += workers)
    for (int k = 0; k < inner; ++k) sums[k] = sums[k] + from[n * inner + k];
  return nullptr;
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  from = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int k = 0; k < inner; ++k) sums[k] = 0;
  pthread_t threads[workers];
  for (long t = 0; t < workers; ++t) pthread_create(&threads[t], nullptr, part, (void*)t);
  for (int t = 0; t < workers; ++t) pthread_join(threads[t], nullptr);
  for (int k = 0; k < inner; ++k) y[k] = sums[k] / batch;
  return kw::answer(result, 0);
}
