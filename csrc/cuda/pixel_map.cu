// The pixel→row map, tile by tile: which rows a tile's pixels mix, and how much of each. Made once for a map.
#include <cuda_fp16.h>

#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include "check.h"
#include "lift.h"

namespace legs4d::cuda {
namespace {

// The entries of the pixel that this thread has in the block's tile; null outside the image.
struct Pixel {
  const int32_t* index;
  const float* weight;

  __device__ Pixel(const Image& image, int tiles_x, int tiles_y, int k, const int32_t* all_index, const float* all_weight) {
    const int tile = blockIdx.x, camera = tile / (tiles_x * tiles_y), ty = tile / tiles_x % tiles_y, tx = tile % tiles_x;
    const int x = tx * kTileSide + threadIdx.x % kTileSide, y = ty * kTileSide + threadIdx.x / kTileSide;
    const bool inside = x < image.width && y < image.height;
    const int64_t at = ((static_cast<int64_t>(camera) * image.height + y) * image.width + x) * k;
    index = inside ? all_index + at : nullptr;
    weight = inside ? all_weight + at : nullptr;
  }

  __device__ bool uses(int j) const { return index && index[j] >= 0 && weight[j] != 0.0f; }
};

// Marks the tile's rows in a bit set of `words` words.
__device__ void mark_rows(const Pixel& pixel, int k, int words, uint32_t* marked) {
  for (int i = threadIdx.x; i < words; i += kTilePixels) marked[i] = 0;
  __syncthreads();
  for (int j = 0; j < k; ++j)
    if (pixel.uses(j)) atomicOr(&marked[pixel.index[j] / 32], 1u << (pixel.index[j] % 32));
  __syncthreads();
}

__global__ void __launch_bounds__(kTilePixels) count_rows_kernel(Image image, int tiles_x, int tiles_y, int k, int words,
                                                                 const int32_t* index, const float* weight,
                                                                 int32_t* counts) {
  extern __shared__ uint32_t marked[];
  using Reduce = cub::BlockReduce<int, kTilePixels>;
  __shared__ typename Reduce::TempStorage storage;
  mark_rows(Pixel(image, tiles_x, tiles_y, k, index, weight), k, words, marked);
  int mine = 0;
  for (int i = threadIdx.x; i < words; i += kTilePixels) mine += __popc(marked[i]);
  const int all = Reduce(storage).Sum(mine);
  if (threadIdx.x == 0) counts[blockIdx.x] = (all + kRowGroup - 1) / kRowGroup * kRowGroup;
}

__global__ void __launch_bounds__(kTilePixels) fill_rows_kernel(Image image, int tiles_x, int tiles_y, int k, int words,
                                                                const int32_t* index, const float* weight,
                                                                const int64_t* row_start, int32_t* rows, half* mixture) {
  extern __shared__ uint32_t marked[];
  int* before = reinterpret_cast<int*>(marked + words);  // marked rows in the words before
  using Scan = cub::BlockScan<int, kTilePixels>;
  __shared__ typename Scan::TempStorage storage;
  const int64_t first = row_start[blockIdx.x];
  const int padded = static_cast<int>(row_start[blockIdx.x + 1] - first);
  if (!padded) return;
  rows += first;
  mixture += first * kTilePixels;
  for (int i = threadIdx.x; i < padded; i += kTilePixels) rows[i] = -1;
  for (int i = 0; i < padded; ++i) mixture[i * kTilePixels + threadIdx.x] = __float2half(0.0f);
  const Pixel pixel(image, tiles_x, tiles_y, k, index, weight);
  mark_rows(pixel, k, words, marked);
  // Each thread numbers the rows of some consecutive words.
  const int share = (words + kTilePixels - 1) / kTilePixels;
  const int begin = min(words, static_cast<int>(threadIdx.x) * share), end = min(words, begin + share);
  int mine = 0, number = 0;
  for (int i = begin; i < end; ++i) mine += __popc(marked[i]);
  Scan(storage).ExclusiveSum(mine, number);
  for (int i = begin; i < end; ++i) {
    before[i] = number;
    for (uint32_t left = marked[i]; left; left &= left - 1) rows[number++] = i * 32 + __ffs(left) - 1;
  }
  __syncthreads();
  for (int j = 0; j < k; ++j) {
    if (!pixel.uses(j)) continue;
    const int word = pixel.index[j] / 32, bit = pixel.index[j] % 32;
    const int row = before[word] + __popc(marked[word] & ((1u << bit) - 1));
    // Nobody else writes this pixel's column; a row named twice by one pixel counts twice.
    half* to = mixture + row * kTilePixels + threadIdx.x;
    *to = __float2half(__half2float(*to) + pixel.weight[j]);
  }
}

int words_for(int num_rows) { return (num_rows + 31) / 32; }

// A block may use more shared memory than the default only when it says so.
template <typename Kernel>
void allow_shared(Kernel kernel, size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "asking for shared memory");
}

}  // namespace

void count_rows(Image image, int k, int num_rows, const int32_t* index, const float* weight, int32_t* counts,
                cudaStream_t stream) {
  const size_t shared = words_for(num_rows) * sizeof(uint32_t);
  allow_shared(count_rows_kernel, shared);
  count_rows_kernel<<<image.tiles(), kTilePixels, shared, stream>>>(image, image.tiles_x(), image.tiles_y(), k,
                                                                    words_for(num_rows), index, weight, counts);
  check(cudaGetLastError(), "counting rows");
}

void fill_rows(Image image, int k, int num_rows, const int32_t* index, const float* weight, const int64_t* row_start,
               int32_t* rows, void* mixture, cudaStream_t stream) {
  const size_t shared = words_for(num_rows) * (sizeof(uint32_t) + sizeof(int));
  allow_shared(fill_rows_kernel, shared);
  fill_rows_kernel<<<image.tiles(), kTilePixels, shared, stream>>>(image, image.tiles_x(), image.tiles_y(), k,
                                                                   words_for(num_rows), index, weight, row_start, rows,
                                                                   static_cast<half*>(mixture));
  check(cudaGetLastError(), "filling the map");
}

int most_rows(int device) {
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "reading the device's limits");
  constexpr int kReserved = 4096;  // for the scans
  return (bytes - kReserved) / static_cast<int>(sizeof(uint32_t) + sizeof(int)) * 32;
}

}  // namespace legs4d::cuda
