// What a rendered picture differs by from the one that was taken (Dynamic3DGS's colour and segmentation losses), and the
// derivative. In one pass: of small pictures, an operation at a time costs more than its work.
#pragma once

namespace legs4d {

struct PictureWeights {
  float ssim_share;    // of the loss; the rest is L1
  float segmentation;  // of the foreground's loss, colour's is 1
  float saturated;     // of a channel's range: from there on a picture says only that it is at least so bright
};

// seen, images: [count, height, width, 3]; foreground, masks: [count, height, width]; all in 0..1.
// Returns the loss; writes its derivative by `seen` and by `foreground`.
double picture_loss(const float* seen, const float* foreground, const float* images, const float* masks, int count,
                    int height, int width, const PictureWeights& weights, int threads, float* seen_gradient,
                    float* foreground_gradient);

}  // namespace legs4d
