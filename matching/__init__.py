"""Search and reranking: features x features -> inliers, ranking -> ranking. Needs neither TensorFlow nor Keras."""
