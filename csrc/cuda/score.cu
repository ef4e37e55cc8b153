#include <cuda_fp16.h>

#include "check.h"
#include "score.h"

namespace legs4d::cuda {
namespace {

constexpr int kThreads = 256;
constexpr float kLeastSquare = 1e-12f;

// Number k .. k + 7 of a code as floats; 0 past its end.
__device__ void load_eight(const half* code, int k, int dim, float* out) {
  if (dim % 8 == 0) {
    const uint4 packed = *reinterpret_cast<const uint4*>(code + k);
    const half2* pairs = reinterpret_cast<const half2*>(&packed);
    for (int i = 0; i < 4; ++i) {
      const float2 both = __half22float2(pairs[i]);
      out[2 * i] = both.x;
      out[2 * i + 1] = both.y;
    }
  } else {
    for (int i = 0; i < 8; ++i) out[i] = k + i < dim ? __half2float(code[k + i]) : 0.0f;
  }
}

// One code a thread; kPhrases sums stay in registers. shared: directions [groups, padded K, kPhrases], then offsets.
template <int kPhrases>
__global__ void __launch_bounds__(kThreads) score_kernel(const half* codes, const float* confidence, int64_t count,
                                                         ScoreQuery query, half* strength) {
  extern __shared__ __align__(16) float shared[];
  const int phrases = query.prompts + query.canonical, all = phrases + 1;
  const int groups = (all + kPhrases - 1) / kPhrases, padded = (query.dim + 7) / 8 * 8;
  float* offsets = shared + groups * padded * kPhrases;
  for (int i = threadIdx.x; i < groups * padded * kPhrases; i += kThreads) {
    const int p = i / (padded * kPhrases) * kPhrases + i % kPhrases, k = i / kPhrases % padded;
    shared[i] = p < all && k < query.dim ? query.directions[p * query.dim + k] : 0.0f;
  }
  for (int p = threadIdx.x; p < phrases; p += kThreads) offsets[p] = query.offsets[p];
  __syncthreads();
  const int64_t n = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (n >= count) return;
  const half* code = codes + n * query.dim;
  // Products with the canonical phrases and P · mean come first (the caller puts them there): the prompts' relevancy needs
  // the length and the rival.
  float square = query.mean_square, rival = -2.0f, scale = 0.0f;
  const bool seen = confidence[n] > 0.0f;
  for (int g = 0; g < groups; ++g) {
    float sums[kPhrases] = {}, own = 0.0f;
    for (int k = 0; k < padded; k += 8) {
      float z[8];
      load_eight(code, k, query.dim, z);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float4* directions = reinterpret_cast<const float4*>(shared + (g * padded + k + i) * kPhrases);
#pragma unroll
        for (int p = 0; p < kPhrases; p += 4) {
          const float4 d = directions[p / 4];
          sums[p] += z[i] * d.x;
          sums[p + 1] += z[i] * d.y;
          sums[p + 2] += z[i] * d.z;
          sums[p + 3] += z[i] * d.w;
        }
        own += z[i] * z[i];
      }
    }
    if (g == 0) {
      square += own + 2.0f * sums[0];
      scale = rsqrtf(fmaxf(square, kLeastSquare));
    }
#pragma unroll
    for (int p = 0; p < kPhrases; ++p) {
      const int phrase = g * kPhrases + p - 1;  // the first product is with the mean
      if (phrase < 0 || phrase >= phrases) continue;
      const float cosine = fminf(fmaxf((sums[p] + offsets[phrase]) * scale, -1.0f), 1.0f);
      if (phrase < query.canonical) {
        rival = fmaxf(rival, cosine);
      } else {
        const float relevancy = 1.0f / (1.0f + __expf(-query.temperature * (cosine - rival)));
        const float value = seen ? fminf(fmaxf(2.0f * relevancy - 1.0f, 0.0f), 1.0f) : 0.0f;
        strength[(phrase - query.canonical) * count + n] = __float2half(value);
      }
    }
  }
}

// A block takes a share of one frame of one prompt: blockIdx = (share, frame, prompt).
__global__ void __launch_bounds__(kThreads) histogram_kernel(const half* strength, const float* weight,
                                                             const uint8_t* group, int count, float* histograms) {
  __shared__ float bins[4 * kStrengthBins];
  const int frame = blockIdx.y, frames = gridDim.y, prompt = blockIdx.z;
  for (int i = threadIdx.x; i < 4 * kStrengthBins; i += kThreads) bins[i] = 0.0f;
  __syncthreads();
  strength += (static_cast<int64_t>(prompt) * frames + frame) * count;
  weight += static_cast<int64_t>(frame) * count;
  float idle[2] = {};  // weight of what has no strength, which is most: kept out of the crowded first bin
  for (int n = blockIdx.x * kThreads + threadIdx.x; n < count; n += gridDim.x * kThreads) {
    const float value = __half2float(strength[n]), w = weight[n];
    const int which = group[n] != 0;
    if (value == 0.0f) {
      if (which)
        idle[1] += w;
      else
        idle[0] += w;
      continue;
    }
    float* own = bins + which * 2 * kStrengthBins;
    const int bin = min(static_cast<int>(value * kStrengthBins), kStrengthBins - 1);
    atomicAdd(own + bin, w);
    atomicAdd(own + kStrengthBins + bin, w * value);
  }
  for (int which = 0; which < 2; ++which) {
    for (int step = 16; step; step /= 2) idle[which] += __shfl_xor_sync(~0u, idle[which], step);
    if (threadIdx.x % 32 == 0) atomicAdd(bins + which * 2 * kStrengthBins, idle[which]);
  }
  __syncthreads();
  float* out = histograms + (static_cast<int64_t>(prompt) * frames + frame) * 4 * kStrengthBins;
  for (int i = threadIdx.x; i < 4 * kStrengthBins; i += kThreads)
    if (bins[i] != 0.0f) atomicAdd(out + i, bins[i]);
}

template <int kPhrases>
void launch_score(const half* codes, const float* confidence, int64_t count, const ScoreQuery& query, half* strength,
                  cudaStream_t stream) {
  const int phrases = query.prompts + query.canonical, groups = (phrases + kPhrases) / kPhrases;
  const size_t shared = (static_cast<size_t>(groups) * ((query.dim + 7) / 8 * 8) * kPhrases + phrases) * sizeof(float);
  check(cudaFuncSetAttribute(score_kernel<kPhrases>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "asking for shared memory (fewer prompts at once would do)");
  score_kernel<kPhrases>
      <<<blocks_for(count, kThreads), kThreads, shared, stream>>>(codes, confidence, count, query, strength);
  check(cudaGetLastError(), "scoring codes");
}

}  // namespace

void score_strengths(const void* codes, const float* confidence, int64_t count, const ScoreQuery& query, void* strength,
                     cudaStream_t stream) {
  if (!count) return;
  // Every group reads the codes again, so many phrases go in large ones; of few, most of a large one would be padding.
  const auto launch = query.prompts + query.canonical < 8 ? launch_score<8> : launch_score<16>;
  launch(static_cast<const half*>(codes), confidence, count, query, static_cast<half*>(strength), stream);
}

void histogram_strengths(const void* strength, const float* weight, const uint8_t* group, int prompts, int frames,
                         int count, float* histograms, cudaStream_t stream) {
  if (!count || !frames) return;
  constexpr int kPerThread = 32;  // so that filling a block's histogram is worth its clearing
  const dim3 blocks(blocks_for(count, kThreads * kPerThread), frames, prompts);
  histogram_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const half*>(strength), weight, group, count, histograms);
  check(cudaGetLastError(), "counting strengths");
}

}  // namespace legs4d::cuda
