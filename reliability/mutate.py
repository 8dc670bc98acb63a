"""Damage to any file: what a bad disk, a broken line or a malicious hand does to its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]
NUMBERS = (0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""Values at the edges of what a field can hold."""
MOST = 3
"""Mutations of one file, one upon the other."""


def mutated(data: bytes, mutations: Sequence[Mutation], rng: Rng) -> bytes:
    """One to MOST of the mutations, each on the result of the one before."""
    for _ in range(rng.integers(1, MOST + 1)):
        data = pick(mutations, rng)(data, rng)
    return data


def pick(choices: Sequence[T], rng: Rng) -> T:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def number(rng: Rng, size: int) -> int:
    """A number of `size` bytes, more often than not one of NUMBERS."""
    found = pick(NUMBERS, rng) if rng.random() < 0.7 else int.from_bytes(rng.bytes(size), "big")
    return found % 256**size


def place(data: bytes, rng: Rng) -> int:
    """A position; every second time among the first 64 bytes, where headers are."""
    end = min(len(data), 64) if rng.random() < 0.5 else len(data)
    return int(rng.integers(end + 1))


def flip_bits(data: bytes, rng: Rng) -> bytes:
    """One to eight bits turned over."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        changed[place(data, rng) % len(data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def write_number(data: bytes, rng: Rng) -> bytes:
    """A number of 1, 2 or 4 bytes written over what was there."""
    at, size = place(data, rng), pick((1, 2, 4), rng)
    return data[:at] + number(rng, size).to_bytes(size, pick(("big", "little"), rng)) + data[at + size :]


def cut_end(data: bytes, rng: Rng) -> bytes:
    """The end is missing."""
    return data[: int(rng.integers(len(data) + 1))]


def cut_out(data: bytes, rng: Rng) -> bytes:
    """Some bytes in the middle are missing."""
    at = place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 65)) :]


def repeat(data: bytes, rng: Rng) -> bytes:
    """A stretch is there several times."""
    at = place(data, rng)
    return data[:at] + data[at : at + int(rng.integers(1, 129))] * int(rng.integers(2, 20)) + data[at:]


def insert_noise(data: bytes, rng: Rng) -> bytes:
    """Random bytes between what was there."""
    at = place(data, rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 65))) + data[at:]


def splice(others: Sequence[bytes]) -> Mutation:
    """The beginning of the file, and the end of one of the others."""

    def spliced(data: bytes, rng: Rng) -> bytes:
        other = pick(others, rng)
        return data[: place(data, rng)] + other[place(other, rng) :]

    return spliced


ANYWHERE: tuple[Mutation, ...] = (flip_bits, write_number, cut_end, cut_out, repeat, insert_noise)
