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

// How strength = clip(2 · relevancy - 1, 0, 1) is spread: to histograms [Q, 2, kStrengthBins, 2] is added, first of what is
// not in `group`, then of what is, of each bin the sum of weights (confidence), then that of weight · strength. Sums do not
// depend on `threads`.
void spread_strengths(const uint16_t* codes, const float* confidence, const uint8_t* group, int64_t count,
                      const ScoreQuery& query, int threads, double* histograms);

}  // namespace legs4d
