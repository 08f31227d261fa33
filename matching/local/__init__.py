"""Local matching of two images: tentative matches and robust geometry."""

MODELS = ("affine", "homography", "similarity")
MATCHING_THRESHOLD, RESIDUAL, TRIALS, MIN_MATCHES = 1.0, 20.0, 1000, 4  # the released defaults
