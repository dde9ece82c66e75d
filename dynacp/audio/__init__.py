"""Audio: data sets in TAU's layout, reading and resampling, log-mels, augmentation, and training batches."""
