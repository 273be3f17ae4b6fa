"""Base models in the small: diffusers' own classes with random weights, tokenizers made on the spot, no hub.

Blocks are 64 wide, so that every linear layer has the 4,096 weights from which on bitsandbytes quantises.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_SEED = 7
_TOKENS = 32
_FLUX2_TOKENS = 64


def tiny_pipeline(family: str, folder: Path) -> Path:
    """The folder of a random pipeline of that family below `folder`; made once, the same every time."""
    import torch

    from persona_tui.gpu.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    made = folder / family
    if not (made / "model_index.json").exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            # Real ones come in several files; one family shows that.
            size = "100KB" if family == "qwen-image" else "1GB"
            _MAKERS[family]().save_pretrained(made, max_shard_size=size)
    return made


@contextmanager
def small_edits() -> Iterator[None]:
    """Let Qwen's edit pipeline look at sources in the small: a megapixel of each takes a minute here."""
    from persona_tui.gpu.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edit, "VAE_IMAGE_SIZE", 64 * 64)
        patch.setattr(edit, "CONDITION_IMAGE_SIZE", 64 * 64)
        yield


def _flux1(pipeline: str = "FluxPipeline") -> Any:
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    from persona_tui.gpu.training.adapters.flux1 import Flux1

    # T5 has dropout, and what is made from a config is in training.
    return getattr(diffusers, pipeline)(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**Flux1.scheduler),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4,),
            latent_channels=1,
            norm_num_groups=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.0609,
            scaling_factor=1.5035,
        ).eval(),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=514,
                hidden_size=32,
                intermediate_size=37,
                num_hidden_layers=2,
                num_attention_heads=4,
                projection_dim=32,
                bos_token_id=512,
                eos_token_id=513,
                pad_token_id=513,
            )
        ).eval(),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=100, d_model=32, d_ff=37, d_kv=8, num_layers=2, num_heads=4)
        ).eval(),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ).eval(),
    )


def _qwen(*, edit: bool = False, zero_cond_t: bool = False) -> Any:
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from persona_tui.gpu.training.adapters.qwen_image import QwenImage

    tokenizer = _qwen_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    language = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "rope_parameters": {
                    "mrope_section": [1, 1, 2],
                    "rope_theta": 1000000.0,
                    "rope_type": "default",
                },
                "bos_token_id": number("<|endoftext|>"),
                "eos_token_id": number("<|im_end|>"),
                "pad_token_id": number("<|endoftext|>"),
            },
            vision_config={
                "depth": 2,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
                "fullatt_block_indexes": [1],
            },
            image_token_id=number("<|image_pad|>"),
            video_token_id=number("<|video_pad|>"),
            vision_start_token_id=number("<|vision_start|>"),
            vision_end_token_id=number("<|vision_end|>"),
        )
    )
    parts = {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(**QwenImage.scheduler),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=24,
            z_dim=4,
            dim_mult=[1, 2, 4],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.5, 1.0, 2.0],
        ).eval(),
        "text_encoder": language.eval(),
        "tokenizer": tokenizer,
        "transformer": diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
            zero_cond_t=zero_cond_t,
        ).eval(),
    }
    if not edit:
        return diffusers.QwenImagePipeline(**parts)
    return diffusers.QwenImageEditPlusPipeline(processor=_qwen_processor(tokenizer), **parts)


def _flux2() -> Any:
    import diffusers
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from persona_tui.gpu.training.adapters.flux2 import Flux2Klein

    tokenizer = _qwen_tokenizer()
    tokenizer.model_max_length = _FLUX2_TOKENS
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**Flux2Klein.scheduler),
        vae=vae,
        # The pipeline reads what comes out of its layers 9, 18 and 27.
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=28,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=8,
            )
        ).eval(),
        tokenizer=tokenizer,
        transformer=diffusers.Flux2Transformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=48,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ).eval(),
    )


def _qwen21() -> Any:
    import diffusers
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    from persona_tui.gpu.training.adapters.qwen_image21 import QwenImage21

    tokenizer = _qwen_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    language = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "rope_parameters": {
                    "mrope_section": [2, 1, 1],
                    "mrope_interleaved": True,
                    "rope_theta": 1000000.0,
                    "rope_type": "default",
                },
            },
            vision_config={
                "depth": 2,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0],
            },
            image_token_id=number("<|image_pad|>"),
            video_token_id=number("<|video_pad|>"),
            vision_start_token_id=number("<|vision_start|>"),
            vision_end_token_id=number("<|vision_end|>"),
        )
    )
    return diffusers.QwenImage21Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**QwenImage21.scheduler),
        vae=diffusers.AutoencoderKLQwenImage21(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.5, 1.0, 2.0],
        ).eval(),
        text_encoder=language.eval(),
        processor=Qwen3VLProcessor(
            image_processor=Qwen2VLImageProcessor(patch_size=16),
            tokenizer=tokenizer,
            video_processor=Qwen3VLVideoProcessor(),
            chat_template="{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
            "{{ message['content'][0]['text'] }}<|im_end|>\n{% endfor %}",
        ),
        transformer=diffusers.QwenImage21Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            context_in_dim=16,
            axes_dims_rope=(8, 4, 4),
        ).eval(),
    )


def _bytes() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    pieces = [*_bytes(), *(byte + "</w>" for byte in _bytes()), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=77
    )


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    letters = [(letter, -2.0) for letter in string.printable if not letter.isspace()]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*specials, *letters], extra_ids=0, model_max_length=_TOKENS)


def _qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    made = Qwen2Tokenizer(vocab={byte: number for number, byte in enumerate(_bytes())}, merges=[])
    specials = ["im_start", "im_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"]
    made.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in specials]})
    return made


def _qwen_processor(tokenizer: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
    )


_MAKERS: dict[str, Callable[[], Any]] = {
    "flux1": _flux1,
    "kontext": partial(_flux1, "FluxKontextPipeline"),
    "flux2-klein-4b": _flux2,
    "flux2-klein-9b": _flux2,
    "qwen-image": _qwen,
    "qwen-image-2.1": _qwen21,
    "qwen-edit-2509": partial(_qwen, edit=True),
    "qwen-edit-2511": partial(_qwen, edit=True, zero_cond_t=True),
}
