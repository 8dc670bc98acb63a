"""Mutations of any file: the damage that a bad disk, a broken line or an attacker does to its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]
NUMBERS = (0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""Values at the limits of what a field can hold."""
MOST = 3
"""Largest number of mutations of one file."""


def mutated(data: bytes, mutations: Sequence[Mutation], rng: Rng) -> bytes:
    """Apply one to MOST of the mutations, each to the result of the one before."""
    for _ in range(rng.integers(1, MOST + 1)):
        data = pick(mutations, rng)(data, rng)
    return data


def pick(choices: Sequence[T], rng: Rng) -> T:
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def number(rng: Rng, size: int) -> int:
    """Return a number of `size` bytes: one of NUMBERS in 70% of cases, else a random one."""
    found = pick(NUMBERS, rng) if rng.random() < 0.7 else int.from_bytes(rng.bytes(size), "big")
    return found % 256**size


def place(data: bytes, rng: Rng) -> int:
    """Return a position; half of the time it is among the first 64 bytes, which hold the headers."""
    end = min(len(data), 64) if rng.random() < 0.5 else len(data)
    return int(rng.integers(end + 1))


def flip_bits(data: bytes, rng: Rng) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        changed[place(data, rng) % len(data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def write_number(data: bytes, rng: Rng) -> bytes:
    """Overwrite 1, 2 or 4 bytes with a number."""
    at, size = place(data, rng), pick((1, 2, 4), rng)
    return data[:at] + number(rng, size).to_bytes(size, pick(("big", "little"), rng)) + data[at + size :]


def cut_end(data: bytes, rng: Rng) -> bytes:
    """Remove the end."""
    return data[: int(rng.integers(len(data) + 1))]


def cut_out(data: bytes, rng: Rng) -> bytes:
    """Remove some bytes in the middle."""
    at = place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 65)) :]


def repeat(data: bytes, rng: Rng) -> bytes:
    """Repeat a stretch of bytes several times."""
    at = place(data, rng)
    return data[:at] + data[at : at + int(rng.integers(1, 129))] * int(rng.integers(2, 20)) + data[at:]


def insert_noise(data: bytes, rng: Rng) -> bytes:
    """Insert random bytes."""
    at = place(data, rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 65))) + data[at:]


def splice(files: Sequence[bytes]) -> Mutation:
    """Return a mutation that joins the beginning of a file and the end of one of the given files."""

    def spliced(data: bytes, rng: Rng) -> bytes:
        other = pick(files, rng)
        return data[: place(data, rng)] + other[place(other, rng) :]

    return spliced


ANYWHERE: tuple[Mutation, ...] = (flip_bits, write_number, cut_end, cut_out, repeat, insert_noise)
