"""What a network and a loss of the user's own must give, said in one line where they give something else."""

from typing import Any

import torch
from torch import Tensor

from ncl_lightning.errors import InputError


def sound_output(output: Any, image: Tensor) -> Any:
    """Return a network's output for pictures (B,3,H,W), if it is like `PivotOutput`.

    Raises:
        InputError: It is something else, or its logits are not (B,1,H,W).
    """
    fields = ("tampered", "authentic", "logits")
    if not isinstance(output, tuple) or not all(hasattr(output, name) for name in fields):
        raise InputError(
            f"model.network: it gives a {type(output).__name__}; let its forward return ncl_lightning.PivotOutput("
            "tampered, authentic, features, logits), None for what it has not"
        )
    logits, expected = output.logits, (len(image), 1, *image.shape[-2:])  # type: ignore[attr-defined]
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != expected:
        raise InputError(
            f"model.network: its logits are {shape}, but the pictures {tuple(image.shape)}; let it give {expected}, "
            "enlarged where it is coarser (torch.nn.functional.interpolate)"
        )
    return output


def sound_terms(terms: Any, like: Tensor) -> dict[str, Tensor]:
    """A loss's terms as scalar tensors, `loss` among them; plain numbers become such.

    Raises:
        InputError: They are something else.
    """
    if not isinstance(terms, dict) or not isinstance(terms.get("loss"), Tensor):
        given = f"a dict of {', '.join(map(str, terms))}" if isinstance(terms, dict) else f"a {type(terms).__name__}"
        raise InputError(f'model.loss: it gives {given}; let its forward return {{"loss": a scalar tensor, …}}')
    found = {str(name): torch.as_tensor(value, device=like.device) for name, value in terms.items()}
    large = [name for name, value in found.items() if value.ndim]
    if large:
        raise InputError(
            f"model.loss: {large[0]} is of the shape {tuple(found[large[0]].shape)}; let every entry be a scalar"
        )
    return found
