"""What a published picture says of its own making: the XMP packet in the file and the label on the post."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Provenance(StrEnum):
    """How a picture came to be."""

    GENERATED = "generated"
    EDITED = "edited"
    PHOTOGRAPH = "photograph"


_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SOURCE_TYPES = {
    Provenance.GENERATED: _VOCABULARY + "trainedAlgorithmicMedia",
    Provenance.EDITED: _VOCABULARY + "compositeWithTrainedAlgorithmicMedia",
    Provenance.PHOTOGRAPH: _VOCABULARY + "digitalCapture",
}

# `W5M0MpCehiHzreSzNTczkc9d` is the fixed packet id of the XMP specification, part 1, 7.3.2.
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType="{source_type}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""

_DIGITAL_SOURCE_TYPE = re.compile(
    rb"DigitalSourceType(?:\s*=\s*[\"']|\s*>\s*|\s+rdf:resource\s*=\s*[\"'])([^\"'<\s]+)"
)

# Terms that contain one of these mean a model took part (IPTC NewsCodes, 2024).
_AI_TERMS = ("algorithmicmedia", "compositesynthetic")

# PNG text chunks that generators write: ComfyUI, AUTOMATIC1111 and Forge, InvokeAI, Fooocus.
_GENERATOR_KEYS = frozenset(
    {"prompt", "workflow", "parameters", "invokeai_metadata", "sd-metadata", "dream", "fooocus_scheme"}
)


def digital_source_type(provenance: Provenance) -> str:
    """The IPTC term, as a URI, for this provenance (IPTC NewsCodes, digitalsourcetype)."""
    return _SOURCE_TYPES[provenance]


def xmp_packet(provenance: Provenance) -> bytes:
    """The XMP packet, UTF-8, that goes into a published file."""
    return _PACKET.format(source_type=digital_source_type(provenance)).encode()


def is_ai_label(provenance: Provenance) -> bool:
    """Whether a post with this picture carries Instagram's AI label: all but plain photographs do."""
    return provenance is not Provenance.PHOTOGRAPH


def read_digital_source_type(xmp: bytes) -> str | None:
    """The IPTC source type that an XMP packet states, as written there, or None.

    Reads attribute, element and rdf:resource forms by pattern: the packet may come from anywhere, and an
    XML parser would be one more thing to attack.
    """
    found = _DIGITAL_SOURCE_TYPE.search(xmp)
    return found.group(1).decode("utf-8", "replace") if found else None


def generator_traces(metadata: Mapping[Any, Any]) -> tuple[str, ...]:
    """Names of what in a picture's metadata says that a model made it, in order of the alphabet.

    Args:
        metadata: Pillow's `Image.info`: PNG text chunks by key, the XMP packet under `xmp`.
    """
    traces = {key for key in metadata if isinstance(key, str) and key.lower() in _GENERATOR_KEYS}
    xmp = metadata.get("xmp") or metadata.get("XML:com.adobe.xmp") or b""
    packet = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp)
    stated = (read_digital_source_type(packet) or "").lower()
    if any(term in stated for term in _AI_TERMS):
        traces.add("DigitalSourceType")
    return tuple(sorted(traces))
