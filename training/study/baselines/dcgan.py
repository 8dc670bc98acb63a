"""The DCGAN networks (Radford, Metz and Chintala, ICLR 2016) for 32×32 crops, narrow enough for a CPU.

As published: strided 4×4 convolutions, no pooling, batch norm except at the generator's output and the discriminator's
input, ReLU in the generator and leaky ReLU in the discriminator. Not as published: 32 base channels instead of 128, and
4×4 → 32×32 in three steps instead of 64×64 in four.
"""

from __future__ import annotations

from torch import nn

CHANNELS = 32
SEED_PX = 4
FEATURES = 4 * CHANNELS * SEED_PX**2
SLOPE = 0.2
"""Slope of the leaky ReLU for negative values."""
INITIAL_SD = 0.02


def generator(inputs: int) -> nn.Sequential:
    """Return the generator without its output function, (B, inputs) → (B, 3, 32, 32)."""
    wide = 4 * CHANNELS
    return nn.Sequential(
        nn.Linear(inputs, FEATURES),
        nn.Unflatten(1, (wide, SEED_PX, SEED_PX)),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        *_doubling(wide, wide // 2),
        *_doubling(wide // 2, CHANNELS),
        nn.ConvTranspose2d(CHANNELS, 3, 4, stride=2, padding=1),
    )


def trunk() -> nn.Sequential:
    """Return the discriminator without its head, (B, 3, 32, 32) → (B, FEATURES)."""
    return nn.Sequential(
        nn.Conv2d(3, CHANNELS, 4, stride=2, padding=1),
        nn.LeakyReLU(SLOPE),
        *_halving(CHANNELS, 2 * CHANNELS),
        *_halving(2 * CHANNELS, 4 * CHANNELS),
        nn.Flatten(),
    )


def initialise(module: nn.Module) -> None:
    """Initialise the weights of a layer as DCGAN does; it is called by `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0, INITIAL_SD)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, INITIAL_SD)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _doubling(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)
