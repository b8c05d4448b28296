"""The one place where torch's own generators are set: dropout and initial weights draw from them, and only they."""

import torch


def set_torch_generators(seed: int) -> None:
    """Put the generators of the CPU and of every GPU where `seed` says."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers (FNV-1a): dropout after a resume is that of the uninterrupted run."""
    state = 0xCBF29CE484222325
    for number in numbers:
        state = ((state ^ (number & (2**64 - 1))) * 0x100000001B3) % 2**64
    return state >> 1
