"""Files as ComfyUI's editor saves them, and what a server declares of the classes in them."""

from __future__ import annotations

from typing import Any

MODEL, LATENT, IMAGE, TEXT = (["MODEL"], ["LATENT"], ["IMAGE"], ["STRING", {"multiline": True}])


def declare(required: dict[str, Any], outputs: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """One class as `/object_info` tells of it."""
    groups = {"required": required, **more.pop("groups", {})}
    return {
        "input": groups,
        "input_order": {name: list(group) for name, group in groups.items()},
        "output": outputs or [],
        "output_node": not outputs,
        **more,
    }


DECLARED: dict[str, Any] = {
    "Sampler": declare(
        {
            "model": MODEL,
            "seed": ["INT", {"control_after_generate": True}],
            "steps": ["INT", {"default": 20}],
            "kind": [["euler", "heun"]],
            "denoise": ["FLOAT", {"default": 1.0}],
        },
        ["LATENT"],
        display_name="A Sampler",
        groups={"optional": {"latent": LATENT, "note": ["STRING", {"forceInput": True}]}},
    ),
    "Noise": declare({"noise_seed": ["INT", {}], "size": ["INT", {"default": 64}]}, ["LATENT"]),
    "Loader": declare({"name": ["COMBO", {"options": ["a.safetensors", "b.safetensors"]}]}, ["MODEL"]),
    "Patch": declare({"strength": ["FLOAT", {}], "model": MODEL, "image": IMAGE}, ["MODEL", "IMAGE"]),
    "Text": declare({"text": ["STRING", {"multiline": True, "dynamicPrompts": True}]}, ["STRING"]),
    "Decode": declare({"samples": LATENT}, ["IMAGE"]),
    "Points": declare({"points": ["STRING", {}], "scale": ["FLOAT", {}]}, ["IMAGE"]),
    "Resize": declare(
        {
            "image": IMAGE,
            "how": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        {"key": "by", "inputs": {"required": {"factor": ["FLOAT", {"default": 2.0}]}}},
                        {"key": "to", "inputs": {"required": {"width": ["INT", {}], "height": ["INT", {}]}}},
                    ]
                },
            ],
            "method": [["area", "lanczos"]],
        },
        ["IMAGE"],
    ),
    "Save": declare({"images": IMAGE, "prefix": ["STRING", {"default": "out"}]}, None),
}


class Canvas:
    """A canvas or the inside of a subgraph, drawn node by node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []

    def node(self, number: int, kind: str, *values: Any, **more: Any) -> int:
        """Put a node down; `inputs` are name → (origin, slot, type) or None, `outputs` their types."""
        slots = [
            self._slot(number, at, name, source)
            for at, (name, source) in enumerate(more.pop("inputs", {}).items())
        ]
        outputs = [{"name": one, "type": one} for one in more.pop("outputs", [])]
        held = more.pop("values", list(values))
        entry = {"id": number, "type": kind, "mode": 0, "inputs": slots, "outputs": outputs}
        self.nodes.append({**entry, "widgets_values": held, **more})
        return number

    def _slot(self, number: int, at: int, name: str, source: Any) -> dict[str, Any]:
        widget, name = name.startswith("*"), name.removeprefix("*")
        origin, slot, kind = source if source is not None else (None, 0, "INT")
        entry: dict[str, Any] = {"name": name, "type": kind, "link": None}
        if widget:
            entry["widget"] = {"name": name}
        if origin is not None:
            entry["link"] = self.link(origin, slot, number, at, kind)
        return entry

    def link(self, origin: int, slot: int, target: int, target_slot: int, kind: str = "*") -> int:
        """Draw a link; its number."""
        self.links.append([len(self.links) + 1, origin, slot, target, target_slot, kind])
        return len(self.links)

    def file(self, **more: Any) -> dict[str, Any]:
        """The file of the editor."""
        return {"nodes": self.nodes, "links": self.links, "version": 0.4, **more}

    def subgraph(self, identity: str, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
        """The canvas as the definition of a subgraph, its links as objects."""
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        return {
            "id": identity,
            "name": identity,
            "inputs": [{"name": name, "type": "*"} for name in inputs],
            "outputs": [{"name": name, "type": "*"} for name in outputs],
            "nodes": self.nodes,
            "links": [dict(zip(names, link, strict=True)) for link in self.links],
        }
