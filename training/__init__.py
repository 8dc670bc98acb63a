"""Offline: tiles → cells → GAN → image-level model → bundle."""
