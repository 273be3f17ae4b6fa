"""The node types that the stand-in knows."""

from __future__ import annotations

from persona_tui.sandbox.comfyui import node_runs as run
from persona_tui.sandbox.comfyui.blending import BLENDING_TYPES
from persona_tui.sandbox.comfyui.choices import CLIP_KINDS, DUAL_CLIP_KINDS, SAMPLERS, SCHEDULERS
from persona_tui.sandbox.comfyui.masking import MASKING_TYPES
from persona_tui.sandbox.comfyui.node_types import (
    MAX_RESOLUTION,
    Input,
    NodeType,
    models_in,
    number,
    one_of,
)

_STRENGTH = number(1.0, -100.0, 100.0, step=0.01)
_BATCH = Input("INT", number(1, 1, 4096))
_SIDE = number(512, 1, MAX_RESOLUTION, step=1)
_SCALED_SIDE = Input("INT", number(512, 0, MAX_RESOLUTION, step=1))
_DEVICE = {"device": Input(one_of("default", "cpu"), {"advanced": True})}
_PNG_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def _latent_sides(default: int, step: int) -> dict[str, Input]:
    side = Input("INT", number(default, 16, MAX_RESOLUTION, step=step))
    return {"width": side, "height": side, "batch_size": _BATCH}


_TYPES = (
    NodeType(
        "KSampler",
        run.sample,
        {
            "model": Input("MODEL", {}),
            "seed": Input("INT", number(0, 0, 2**64 - 1, control_after_generate=True)),
            "steps": Input("INT", number(20, 1, 10000)),
            "cfg": Input("FLOAT", number(8.0, 0.0, 100.0, step=0.1, round=0.01)),
            "sampler_name": Input(one_of(*SAMPLERS), {}),
            "scheduler": Input(one_of(*SCHEDULERS), {}),
            "positive": Input("CONDITIONING", {}),
            "negative": Input("CONDITIONING", {}),
            "latent_image": Input("LATENT", {}),
            "denoise": Input("FLOAT", number(1.0, 0.0, 1.0, step=0.01)),
        },
        ("LATENT",),
        "sampling",
        "KSampler",
    ),
    NodeType(
        "CheckpointLoaderSimple",
        run.load_checkpoint,
        {"ckpt_name": Input(models_in("checkpoints"), {})},
        ("MODEL", "CLIP", "VAE"),
        "loaders",
        "Load Checkpoint",
    ),
    NodeType(
        "CLIPTextEncode",
        run.encode_text,
        {"text": Input("STRING", {"multiline": True, "dynamicPrompts": True}), "clip": Input("CLIP", {})},
        ("CONDITIONING",),
        "conditioning",
        "CLIP Text Encode (Prompt)",
    ),
    NodeType(
        "VAEDecode",
        run.decode,
        {"samples": Input("LATENT", {}), "vae": Input("VAE", {})},
        ("IMAGE",),
        "latent",
        "VAE Decode",
    ),
    NodeType(
        "VAEEncode",
        run.encode,
        {"pixels": Input("IMAGE"), "vae": Input("VAE")},
        ("LATENT",),
        "latent",
        "VAE Encode",
    ),
    NodeType(
        "VAELoader",
        run.load_vae,
        {"vae_name": Input(models_in("vae", "pixel_space"))},
        ("VAE",),
        "loaders",
        "Load VAE",
    ),
    NodeType(
        "EmptyLatentImage",
        run.empty_latent,
        _latent_sides(512, 8),
        ("LATENT",),
        "latent",
        "Empty Latent Image",
    ),
    NodeType(
        "EmptySD3LatentImage",
        run.empty_latent,
        _latent_sides(1024, 16),
        ("LATENT",),
        "latent/sd3",
        module="comfy_extras.nodes_sd3",
    ),
    NodeType(
        "UNETLoader",
        run.load_unet,
        {
            "unet_name": Input(models_in("diffusion_models")),
            "weight_dtype": Input(one_of("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")),
        },
        ("MODEL",),
        "advanced/loaders",
        "Load Diffusion Model",
    ),
    NodeType(
        "CLIPLoader",
        run.load_clip,
        {"clip_name": Input(models_in("text_encoders")), "type": Input(one_of(*CLIP_KINDS))},
        ("CLIP",),
        "advanced/loaders",
        "Load CLIP",
        optional=_DEVICE,
    ),
    NodeType(
        "DualCLIPLoader",
        run.load_clip,
        {
            "clip_name1": Input(models_in("text_encoders")),
            "clip_name2": Input(models_in("text_encoders")),
            "type": Input(one_of(*DUAL_CLIP_KINDS)),
        },
        ("CLIP",),
        "advanced/loaders",
        "DualCLIPLoader",
        optional=_DEVICE,
    ),
    NodeType(
        "LoraLoader",
        run.load_lora,
        {
            "model": Input("MODEL", {}),
            "clip": Input("CLIP", {}),
            "lora_name": Input(models_in("loras"), {}),
            "strength_model": Input("FLOAT", _STRENGTH),
            "strength_clip": Input("FLOAT", _STRENGTH),
        },
        ("MODEL", "CLIP"),
        "loaders",
        "Load LoRA",
    ),
    NodeType(
        "LoraLoaderModelOnly",
        run.load_lora_model_only,
        {
            "model": Input("MODEL"),
            "lora_name": Input(models_in("loras")),
            "strength_model": Input("FLOAT", _STRENGTH),
        },
        ("MODEL",),
        "loaders",
        "LoraLoaderModelOnly",
    ),
    NodeType(
        "FluxGuidance",
        run.guide,
        {
            "conditioning": Input("CONDITIONING", {}),
            "guidance": Input("FLOAT", number(3.5, 0.0, 100.0, step=0.1)),
        },
        ("CONDITIONING",),
        "advanced/conditioning/flux",
        module="comfy_extras.nodes_flux",
    ),
    NodeType(
        "ConditioningZeroOut",
        run.zero_out,
        {"conditioning": Input("CONDITIONING")},
        ("CONDITIONING",),
        "advanced/conditioning",
        "ConditioningZeroOut",
    ),
    NodeType(
        "ModelSamplingAuraFlow",
        run.shift,
        {"model": Input("MODEL"), "shift": Input("FLOAT", number(1.73, 0.0, 100.0, step=0.01))},
        ("MODEL",),
        "advanced/model",
        "ModelSamplingAuraFlow",
        module="comfy_extras.nodes_model_advanced",
        plain=True,
    ),
    NodeType(
        "TextEncodeQwenImageEditPlus",
        run.encode_edit,
        {
            "clip": Input("CLIP", {}),
            "prompt": Input("STRING", {"multiline": True, "dynamicPrompts": True}),
        },
        ("CONDITIONING",),
        "advanced/conditioning",
        optional={
            "vae": Input("VAE", {}),
            **{name: Input("IMAGE", {}) for name in ("image1", "image2", "image3")},
        },
        module="comfy_extras.nodes_qwen",
    ),
    NodeType(
        "EmptyImage",
        run.empty_image,
        {
            "width": Input("INT", _SIDE),
            "height": Input("INT", _SIDE),
            "batch_size": _BATCH,
            "color": Input("INT", number(0, 0, 0xFFFFFF, step=1, display="color")),
        },
        ("IMAGE",),
        "image",
        "EmptyImage",
    ),
    NodeType(
        "ImageScale",
        run.scale,
        {
            "image": Input("IMAGE"),
            "upscale_method": Input(one_of(*run.RESAMPLING)),
            "width": _SCALED_SIDE,
            "height": _SCALED_SIDE,
            "crop": Input(one_of("disabled", "center")),
        },
        ("IMAGE",),
        "image/upscaling",
        "Upscale Image",
    ),
    NodeType(
        "LoadImage",
        run.load_image,
        {"image": Input(lambda folders: folders.input_names(), {"image_upload": True})},
        ("IMAGE", "MASK"),
        "image",
        "Load Image",
        changed=run.file_hash,
        check={"image": run.no_file},
    ),
    NodeType(
        "SaveImage",
        run.save,
        {"images": Input("IMAGE", {}), "filename_prefix": Input("STRING", {"default": "ComfyUI"})},
        (),
        "image",
        "Save Image",
        hidden=_PNG_HIDDEN,
        output_node=True,
    ),
    NodeType(
        "PreviewImage",
        run.preview,
        {"images": Input("IMAGE")},
        (),
        "image",
        "Preview Image",
        hidden=_PNG_HIDDEN,
        output_node=True,
    ),
)
NODE_TYPES = {one.name: one for one in (*_TYPES, *BLENDING_TYPES, *MASKING_TYPES)}
