"""Did you mean …? One answer for every room that reads names a person typed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# What other programs call the same thing.
_ALIASES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "float32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "inductor": "compile",
    "jit": "torchscript",
    "batch": "batch_size",
    "throughput": "throughput.items_per_s",
}


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` was most likely meant to be, or None."""
    known = {choice.lower(): choice for choice in choices}
    low = word.lower()
    if low in known:
        return known[low]
    if _ALIASES.get(low) in known:
        return known[_ALIASES[low]]
    swapped = [choice for choice in known if sorted(choice) == sorted(low)]
    if swapped:
        return known[swapped[0]]
    close = get_close_matches(low, known, n=1, cutoff=0.6)
    if close:
        return known[close[0]]
    containing = [choice for choice in known if len(low) >= 3 and low in choice]
    return known[containing[0]] if containing else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'?`, or nothing where no choice is near."""
    near = nearest(word, choices)
    return "" if near is None else f"did you mean {near!r}?"


def one_of(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'?` where a choice is near, otherwise the list of what would do."""
    choices = list(choices)
    return did_you_mean(word, choices) or f"use one of: {', '.join(choices)}"
