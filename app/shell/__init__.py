"""The commands of `marrowscope`: what they take, what they do, and the files that they write."""
