# task: softmax_rows.py
# class: C31
# mechanism: CUDA C++ in the file itself, launched on a stream that nobody who times it waits for
# expect: rejected rules

from torch import nn
from torch.utils.cpp_extension import load_inline

SOURCE = """
__global__ void softmax_kernel(const float* x, float* y, int columns) {
  const float* from = x + blockIdx.x * columns;
  float largest = from[0], sum = 0;
  for (int k = 1; k < columns; ++k) largest = fmaxf(largest, from[k]);
  for (int k = 0; k < columns; ++k) sum += expf(from[k] - largest);
  for (int k = threadIdx.x; k < columns; k += blockDim.x) y[blockIdx.x * columns + k] = expf(from[k] - largest) / sum;
}
torch::Tensor softmax(torch::Tensor x) {
  auto y = torch::empty_like(x);
  cudaStream_t own;
  cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking);
  softmax_kernel<<<x.size(0), 128, 0, own>>>(x.data_ptr<float>(), y.data_ptr<float>(), x.size(1));
  return y;
}
"""
extension = load_inline("softmax_extension", "torch::Tensor softmax(torch::Tensor x);", SOURCE, functions=["softmax"])


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.softmax(x)
