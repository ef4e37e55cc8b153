// Structural similarity of two images and its derivative (Wang et al. 2004: 11 × 11 Gaussian window, σ = 1.5).
#pragma once

namespace legs4d {

// first, second: [count, height, width, channels] in 0..1, zero outside. Writes the mean over pixels and channels to
// similarity [count], and the derivative of each image's similarity by `first` to gradient (shaped as first).
void structural_similarity(const float* first, const float* second, int count, int height, int width, int channels,
                           int threads, float* similarity, float* gradient);

}  // namespace legs4d
