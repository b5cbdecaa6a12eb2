// task: running_sum.py
// class: C32
// mechanism: a detached thread of the shared object fills the output after a pause; until
//   then it holds the judge's poison (NaN)
// expect: rejected value, nan, unstable, clock

#include <kw/abi.h>
#include <pthread.h>
#include <unistd.h>

struct Job {
  const float* x;
  float* y;
};

static void* work(void* data) {
  Job* job = (Job*)data;
  usleep(20000);
  for (int r = 0; r < 32; ++r) {
    float sum = 0;
    for (int c = 0; c < 200; ++c) job->y[r * 200 + c] = sum += job->x[r * 200 + c];
  }
  delete job;
  return nullptr;
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  pthread_t thread;
  Job* job = new Job{(const float*)kw::data(kw::tensor(args[0])), (float*)kw::data(kw::tensor(args[1]))};
  pthread_create(&thread, nullptr, work, job);
  pthread_detach(thread);
  return kw::answer(result, 0);
}
