"""A model's weights as a file that `weights = FILE` takes back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import torch

from bench.core.models import construct
from bench.errors import OutputError
from bench.plan.case import ModelSpec


def save_weights(spec: ModelSpec, seed: int, path: Path) -> tuple[int, int, str]:
    """Write the state_dict of the model that `spec` and `seed` make; returns tensors, bytes and sha256 of the file.

    The file is there whole or not at all. Raises OutputError where it cannot be written, CaseError for a wrong model.
    """
    state = construct(spec, seed).model.state_dict()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            made = Path(name)
            made.chmod(0o666 & ~_umask())
            data = made.read_bytes()
            made.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except (OSError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"the weights cannot be written to {path}: {said}.") from error
    return len(state), len(data), hashlib.sha256(data).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
