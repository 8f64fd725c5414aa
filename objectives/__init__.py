"""What is measured: objectives that pretrain and probe; torch, but never Ray.

`SHELVES` says where the components live that a study can name, a folder a kind.
"""

from spaces.components import Shelf

SHELVES = {
    "objective": Shelf("objective", "objectives.kinds"),
    "function": Shelf("function", "objectives.functions"),
    "data": Shelf("data", "objectives.images.data"),
    "method": Shelf("method", "objectives.images.methods"),
    "plugin": Shelf("plugin", "objectives.images.plugins", "objectives.images.mutations"),
    "augmentation": Shelf("augmentation", "objectives.images.augmentations"),
    "sampler": Shelf("sampler", "objectives.images.samplers"),
    "pool": Shelf("pool", "objectives.images.pools"),
    "task": Shelf("task", "objectives.circuits.tasks"),
    "embedding": Shelf("embedding", "objectives.circuits.embeddings"),
    "architecture": Shelf("architecture", "objectives.images.backbones"),
}
