"""Pictures embedded per second by the background job, beside a bare open_clip batch loop on the same cores.

Both read the same JPEGs of 768 px, the thumbnails that the job embeds, with the same random weights of
ViT-B-32. Bare: open, preprocess one after another, encode 32 at once, with `inference_mode`. Ours is the
whole way of a job: what is missing, files from the media store, a child process, rows in PostgreSQL. The
two take turns, the medians count, and a run of each before them loads the model.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from report import Figure

TARGET = 0.9
ROUNDS, QUICK_ROUNDS = 3, 1
PICTURES, QUICK_PICTURES = 160, 32
SIDE = 768
BATCH = 32


def figures(quick: bool) -> Iterator[Figure]:
    """The job's rate as a share of the bare loop's."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        ours, bare = _rates(folder, QUICK_PICTURES if quick else PICTURES, QUICK_ROUNDS if quick else ROUNDS)
    yield Figure("embedding: pictures a second by the job", ours, "/s", baseline=bare)
    yield Figure("embedding: share of a bare open_clip loop", ours / bare, "×", ">=", TARGET, bare)


def _rates(folder: Path, pictures: int, rounds: int) -> tuple[float, float]:
    """Pictures per second, ours and bare."""
    from persona_tui.database.engine import open_database
    from persona_tui.database.migrate import upgrade
    from persona_tui.pool import WorkPool
    from persona_tui.services.media import MediaStore
    from persona_tui.setting_sections import ClipSettings
    from persona_tui.settings import Settings

    async def measure() -> tuple[float, float]:
        bare_pool, own_pool = WorkPool(niceness=0), WorkPool(niceness=0)
        weights = folder / "clip.pt"
        await bare_pool.run(write_random_weights, str(weights))
        settings = Settings(
            data_dir=folder / "data", environment="sandbox", clip=ClipSettings(checkpoint=weights)
        )
        database = open_database(settings)
        try:
            upgrade(database, backup_dir=None, keep=1)
            media = MediaStore(settings)
            paths, persona_id = _library(database, media, pictures)
            job = _Job(database, media, own_pool, settings, persona_id)
            timed: list[tuple[float, float]] = []
            for _ in range(1 + rounds):
                ours = await job.seconds()
                bare = await bare_pool.run(bare_seconds, str(weights), [str(path) for path in paths])
                timed.append((ours, bare))
        finally:
            await asyncio.gather(bare_pool.aclose(), own_pool.aclose())
            database.dispose()
        ours_s = statistics.median(ours for ours, _ in timed[1:])
        bare_s = statistics.median(bare for _, bare in timed[1:])
        return pictures / ours_s, pictures / bare_s

    return asyncio.run(measure())


class _Job:
    """The job as a worker runs it, again and again over the same pictures."""

    def __init__(self, database, media, pool, settings, persona_id: int) -> None:  # type: ignore[no-untyped-def]
        from persona_tui.services import jobs

        self._database, self._persona_id = database, persona_id
        self._tools = jobs.JobTools(database.session_scope, media, pool, settings, pool)

    async def seconds(self) -> float:
        """Forget all vectors, then time how long they take."""
        from sqlalchemy import text

        from persona_tui.services import jobs
        from persona_tui.services.library import analyses

        with self._database.session_scope() as session:
            session.execute(text("DELETE FROM embeddings"))
            session.execute(text("DELETE FROM analysis_outcomes"))
            analyses.queue_kind(session, self._persona_id, "embedding")
        app = jobs.make_worker_app(self._database.conninfo())
        async with app.open_async():
            began = time.perf_counter()
            await app.run_worker_async(
                wait=False, install_signal_handlers=False, additional_context={"tools": self._tools}
            )
            return time.perf_counter() - began


def _library(database, media, count: int) -> tuple[list[Path], int]:  # type: ignore[no-untyped-def]
    """So many different photographs of a persona, and where their thumbnails lie."""
    from sqlalchemy import text

    from persona_tui.services.planning.personas import create_persona

    paths = []
    with database.session_scope() as session:
        persona = create_persona(session, {"name": "Mira", "age": 31, "description": "-"}).id
        for data in _pictures(count):
            stored = media.put(data)
            paths.append(media.thumbnail(stored.key, stored.sha256))
            session.execute(
                text(
                    "INSERT INTO photos (persona_id, sha256, media_key, format, width, height, byte_count)"
                    " VALUES (:persona, :sha256, :key, 'JPEG', :width, :height, :bytes)"
                ),
                {
                    "persona": persona,
                    "sha256": stored.sha256,
                    "key": stored.key,
                    "width": stored.facts.width,
                    "height": stored.facts.height,
                    "bytes": stored.byte_count,
                },
            )
    return paths, persona


def _pictures(count: int) -> Iterator[bytes]:
    """Crops of sample photographs, 4:5, with noise."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(5)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        picture = photographs[number % len(photographs)]
        left = int(random.integers(0, picture.width - 320))
        crop = picture.crop((left, 10, left + 320, 410)).resize((SIDE * 4 // 5, SIDE))
        noisy = np.asarray(crop, dtype=np.int16) + random.integers(-8, 9, (SIDE, SIDE * 4 // 5, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
        yield file.getvalue()


def write_random_weights(path: str) -> None:
    """ViT-B-32 as open_clip makes it; in a child."""
    open_clip, torch = _libraries()
    torch.manual_seed(1)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)


_bare: dict[str, tuple[object, object]] = {}


def bare_seconds(weights: str, paths: list[str]) -> float:
    """The bare loop's time over these files; in a child that keeps the model."""
    open_clip, torch = _libraries()
    if weights not in _bare:
        made = open_clip.create_model_and_transforms("ViT-B-32", pretrained=weights)
        _bare[weights] = (made[0].eval(), made[2])
    model, preprocess = _bare[weights]
    began = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(paths), BATCH):
            batch = torch.stack([preprocess(Image.open(path)) for path in paths[first : first + BATCH]])
            features = model.encode_image(batch)  # type: ignore[attr-defined]
            (features / features.norm(dim=-1, keepdim=True)).numpy()
    return time.perf_counter() - began


def _libraries():  # type: ignore[no-untyped-def]
    from persona_tui.gpu.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch

    return open_clip, torch
