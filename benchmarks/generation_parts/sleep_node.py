"""A node for a real ComfyUI that takes a set time: copy this file into its custom_nodes folder."""

import time


class PersonaBenchSleep:
    """Hands a picture on after so many seconds."""

    CATEGORY = "persona-tui benchmarks"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "wait"

    @classmethod
    def INPUT_TYPES(cls):
        """As ComfyUI asks for it; `key` keeps the cache from answering."""
        return {
            "required": {
                "image": ("IMAGE",),
                "seconds": ("FLOAT", {"default": 0.05, "min": 0.0, "max": 60.0, "step": 0.001}),
                "key": ("STRING", {"default": ""}),
            }
        }

    def wait(self, image, seconds, key):
        """Wait."""
        time.sleep(seconds)
        return (image,)


NODE_CLASS_MAPPINGS = {"PersonaBenchSleep": PersonaBenchSleep}
