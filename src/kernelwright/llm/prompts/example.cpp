// features: vectorisation, fusion
#include <cmath>

void kernel(
    const float* x0,  // float32, 96 x 250, row-major
    float* y0         // float32, 96 x 250, row-major, to be filled
) {
  constexpr int64_t rows = 96, columns = 250;
  #pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; ++i) {
    const float* x = x0 + i * columns;
    float* y = y0 + i * columns;
    float sum = 0;
    #pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < columns; ++j) sum += std::fabs(x[j]);
    const float scale = 1 + sum / columns;
    #pragma omp simd
    for (int64_t j = 0; j < columns; ++j) y[j] = x[j] / scale;
  }
}
