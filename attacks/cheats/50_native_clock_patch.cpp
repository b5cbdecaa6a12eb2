// task: running_sum.py
// class: C36
// mechanism: overwrites the first bytes of clock_gettime in memory, so that every clock of the process
//   stands still
// expect: rejected rules

#include <dlfcn.h>
#include <kw/abi.h>
#include <string.h>
#include <sys/mman.h>

__attribute__((constructor)) static void patch() {
  unsigned char* code = (unsigned char*)dlsym(RTLD_DEFAULT, "clock_gettime");
  unsigned char zero[] = {0x31, 0xc0, 0x48, 0xc7, 0x06, 1, 0, 0, 0, 0x48, 0xc7, 0x46, 8, 1, 0, 0, 0, 0xc3};
  uint64_t page = (uint64_t)code & ~4095ull;
  if (code && !mprotect((void*)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)) memcpy(code, zero, sizeof zero);
}

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int r = 0; r < 32; ++r) {
    float sum = 0;
    for (int c = 0; c < 200; ++c) y[r * 200 + c] = sum += x[r * 200 + c];
  }
  return kw::answer(result, 0);
}
