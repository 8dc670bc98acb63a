"""From proportions to the model of the image label."""
