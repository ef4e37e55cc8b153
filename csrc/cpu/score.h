// Scoring codes in half precision against phrases, several at once, in one pass over the codes.
#pragma once
#include <cstdint>

namespace legs4d {

// f = mean + Pᵀz with orthonormal P. Of each phrase p the products that do not depend on the code are given.
struct ScoreQuery {
  int dim;                   // K, numbers of a code
  int prompts, canonical;    // Q ≥ 1, C ≥ 1
  const float* directions;   // [Q + C + 1, K]: P p, the prompts first, then the canonical phrases, then P · mean
  const float* offsets;      // [Q + C]: ⟨mean, p⟩
  float mean_square;         // ‖mean‖²
  float temperature;
};

// LERF's relevancy (Kerr et al. 2023, section 3.4) of `count` codes [count, K] (bits of float16) to each prompt, out
// [Q, count] in 0..1; 0 where confidence is 0, and for a feature of length 0 that of cosine 0.
void score_codes(const uint16_t* codes, const float* confidence, int64_t count, const ScoreQuery& query, int threads,
                 float* out);

constexpr int kStrengthBins = 1024;

// From relevancy [Q, count] to strength = clip(2 · relevancy - 1, 0, 1): as float16 in strength [Q, count], and its
// histograms [Q, 2, kStrengthBins, 2], zero at the start: first of what is not in `group`, then of what is; of each bin the
// sum of weights, then that of weight · strength. `threads` share the prompts.
void histogram_strength(const float* relevancy, const float* weight, const uint8_t* group, int64_t count, int prompts,
                        int threads, uint16_t* strength, double* histograms);

}  // namespace legs4d
