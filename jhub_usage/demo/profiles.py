"""The three profiles of the demo, for the Hub's form and for the past alike."""

from ..domain.shapes import Gpus, Shape

GIB = 2**30
PROFILES = [
    {
        "slug": "cpu",
        "display_name": "CPU notebook",
        "description": "2 cores and 4 GiB: writing, plotting, small data.",
        "cpu": 2,
        "memory": "4G",
        "default": True,
    },
    {
        "slug": "gpu-a100",
        "display_name": "One A100",
        "description": "8 cores, 64 GiB and one A100: training and fine-tuning.",
        "cpu": 8,
        "memory": "64G",
        "gpus": [{"model": "A100", "count": 1}],
    },
    {
        "slug": "gpu-h100x4",
        "display_name": "Four H100",
        "description": "32 cores, 256 GiB and four H100: large models. Twelve hours at most.",
        "cpu": 32,
        "memory": "256G",
        "gpus": [{"model": "H100", "count": 4}],
    },
]


def shape_of(slug: str) -> Shape:
    """The shape that a profile declares."""
    profile = next(p for p in PROFILES if p["slug"] == slug)
    return Shape(
        cpu_milli=profile["cpu"] * 1000,
        memory_bytes=int(profile["memory"].rstrip("G")) * GIB,
        gpus=tuple(Gpus("nvidia.com/gpu", g["model"], g["count"]) for g in profile.get("gpus", ())),
    )
