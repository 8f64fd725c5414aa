"""What is measured: objectives that pretrain and probe; torch, but never Ray.

`SHELVES` says where the components live that a study can name, a folder a kind.
"""

from spaces.components import Shelf

SHELVES = {
    "objective": Shelf("objective", "objectives.kinds"),
    "function": Shelf("function", "objectives.functions"),
    "data": Shelf("data", "objectives.images.data"),
    "method": Shelf("method", "objectives.images.methods"),
    "augmentation": Shelf("augmentation", "objectives.images.augmentations"),
    "task": Shelf("task", "objectives.circuits.tasks"),
    "embedding": Shelf("embedding", "objectives.circuits.embeddings"),
    "architecture": Shelf("architecture", "objectives.images.backbones"),
}
