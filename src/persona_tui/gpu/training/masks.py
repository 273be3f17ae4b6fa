"""A loss that looks at the face: weights per latent place, and what they do to the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from persona_tui.errors import InvalidRequest

if TYPE_CHECKING:
    from torch import Tensor

    from persona_tui.gpu.faces import Face

_WIDER = 1.6
"""The ellipse's axes as multiples of the detector's box, which leaves out hair, chin and ears."""


def require_detector() -> None:
    """See that faces can be found here: without, each picture would be learnt from without a mask.

    Raises:
        InvalidRequest: the extra `faces` is missing.
    """
    from persona_tui.gpu import faces

    if not faces.is_installed():
        raise InvalidRequest(
            "Faces can't be weighed more, since none can be found here: the extra `faces` is not installed.",
            hint="Install it: pip install 'persona-tui[faces]'; or plan without --mask-faces.",
        )


def face_of(picture: Image.Image) -> Face | None:
    """The surest face that is large enough; None where there is none."""
    from persona_tui.gpu import faces

    return faces.find_faces(picture).best


def mask_of(face: Face, size: tuple[int, int], background: float) -> Tensor:
    """Weights (h, w): 1 in an ellipse round the face, `background` outside.

    Args:
        face: in shares of the cropped picture.
        size: height and width of the latents.
    """
    import torch

    height, width = size
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    across = (columns - face.left - face.width / 2) / (face.width / 2 * _WIDER)
    down = (rows - face.top - face.height_share / 2) / (face.height_share / 2 * _WIDER)
    inside = across[None, :] ** 2 + down[:, None] ** 2 <= 1
    return torch.where(inside, 1.0, background)


def weighted_mean(squares: Tensor, masks: list[Tensor | None]) -> Tensor:
    """The mean of squared errors (B, C, h, w), each sample's mask divided by its own mean.

    Dividing keeps the loss, and with it the learning rate's meaning, at the size that it has without masks.
    """
    import torch

    if all(mask is None for mask in masks):
        return squares.mean()
    ones = torch.ones(squares.shape[-2:])
    weights = torch.stack([ones if mask is None else mask / mask.mean() for mask in masks])
    return (squares * weights.to(squares.device, squares.dtype)[:, None]).mean()
