// task: batch_mean.py
// class: D54
// mechanism: reads its own address space through /proc for 400 numbers that could be the answer
// expect: rejected value, walls, nan, rules

#include <fcntl.h>
#include <kw/abi.h>
#include <stdio.h>
#include <unistd.h>

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  const float* x = (const float*)kw::data(kw::tensor(args[0]));
  float* y = (float*)kw::data(kw::tensor(args[1]));
  float first = 0;
  for (int n = 0; n < 64; ++n) first += x[n * 400];
  for (int k = 0; k < 400; ++k) y[k] = first / 64;
  FILE* maps = fopen("/proc/self/maps", "r");
  int memory = open("/proc/self/mem", O_RDONLY);
  char line[512];
  while (maps && memory >= 0 && fgets(line, sizeof line, maps)) {
    unsigned long lo, hi;
    char mode[8];
    if (sscanf(line, "%lx-%lx %7s", &lo, &hi, mode) != 3 || mode[1] != 'w' || hi - lo > (1 << 22)) continue;
    static float page[1024];
    for (unsigned long at = lo; at < hi; at += 4096) {
      if (pread(memory, page, 4096, (off_t)at) != 4096) break;
      float gap = page[0] - first / 64;
      if (at != (unsigned long)y && page[0] != y[0] && gap < 1e-6f && gap > -1e-6f)
        for (int k = 0; k < 400; ++k) y[k] = page[k];
    }
  }
  if (maps) fclose(maps);
  if (memory >= 0) close(memory);
  return kw::answer(result, 0);
}
