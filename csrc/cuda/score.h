// Scoring codes on CUDA: the same as csrc/cpu/score.h, for the codes of many frames at once.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "../cpu/score.h"

namespace legs4d::cuda {

// strength = clip(2 · relevancy - 1, 0, 1) as half [Q, count] of codes [count, K] (half, 16-byte aligned rows when K is a
// multiple of 8). The query's pointers are the device's.
void score_strengths(const void* codes, const float* confidence, int64_t count, const ScoreQuery& query, void* strength,
                     cudaStream_t stream);

// histograms [Q, frames, 2, 2, kStrengthBins] of strength [Q, frames, count], weight [frames, count] and group [count], as
// on the CPU; zero at the start.
void histogram_strengths(const void* strength, const float* weight, const uint8_t* group, int prompts, int frames,
                         int count, float* histograms, cudaStream_t stream);

}  // namespace legs4d::cuda
