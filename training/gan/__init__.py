"""The WGAN-GP + InfoGAN: its losses, its training loop, checkpoints and checks."""
