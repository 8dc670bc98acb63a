"""The WGAN-GP + InfoGAN: its networks, losses and training loop, how Q is trained, checkpoints and checks."""
