"""What the operator is told to do about a failed job."""

from __future__ import annotations

import pytest

from persona_tui.clients.comfyui_refusals import node_sentence
from persona_tui.services.generation.advice import advice

MISSING_MODEL = {
    "1": {
        "class_type": "CheckpointLoaderSimple",
        "errors": [
            {
                "type": "value_not_in_list",
                "details": "",
                "extra_info": {
                    "input_name": "ckpt_name",
                    "received_value": "a.safetensors",
                    "input_config": [["b.safetensors"], {}],
                },
            }
        ],
    }
}
TOO_SMALL = {
    "4": {
        "class_type": "EmptyLatentImage",
        "errors": [
            {
                "type": "value_smaller_than_min",
                "extra_info": {
                    "input_name": "width",
                    "received_value": 0,
                    "input_config": ["INT", {"min": 16}],
                },
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("KSampler (node 5): CUDA out of memory. Tried to allocate 2 GiB.", "memory was full"),
        ("It took longer than 600 s.", "longer timeout"),
        ("The server ended each time while it made this picture.", "its own log"),
        ("The server has no node class FaceDetailer (node 7).", "pipeline check"),
        (node_sentence(MISSING_MODEL), "pipeline check"),
        (node_sentence(TOO_SMALL), "clone the run"),
        ("ComfyUI, or a proxy before it, refused the key (403).", "comfyui.api_key"),
        ("ComfyUI takes no upload of that size: too large.", "--max-upload-size"),
        ("[Errno 28] No space left on device", "room on the disk"),
        ("Something nobody foresaw.", "Retry"),
    ],
)
def test_each_failure_has_a_way_out(words: str, what: str) -> None:
    assert any(part in advice(words) for part in what.split("|"))
