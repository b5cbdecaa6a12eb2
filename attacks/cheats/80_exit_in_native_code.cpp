// task: running_sum.py
// class: D63
// mechanism: ends the process with a success from a constructor of the shared object
// expect: rejected crash, walls

#include <kw/abi.h>
#include <unistd.h>

__attribute__((constructor)) static void leave() { _exit(0); }

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument*, int32_t, kw::Argument* result) {
  return kw::answer(result, 0);
}
