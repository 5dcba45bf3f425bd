"""From the results of pose estimation on a video to a data set: tracks, repairs, one frame of reference for two."""
