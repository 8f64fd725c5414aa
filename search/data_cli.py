"""`pretune data`: what data a study can read, and what is in it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spaces.document import StudyError, complaint

if TYPE_CHECKING:
    import numpy as np

    from objectives.images.images import Images
    from spaces.components import Shelf

MOST_CLASSES = 20  # whose names are listed
PNG = (".png",)


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one knob of the data.")
@click.option("--preview", type=click.Path(path_type=Path), help="A .png file for a grid of images.")
@click.option("--number", type=click.IntRange(1, 1000), default=64, show_default=True, help="How many images it shows.")
@click.option("--factor", type=click.IntRange(0), help="Group them by this factor, from 0, instead of by class.")
def data(name: str | None, settings: tuple[str, ...], preview: Path | None, number: int, factor: int | None) -> None:
    """Read data as a study would, say what is in it, and draw a grid of it; without NAME, list what can be read.

    A preview shows equally many images of each class. Where images come in pairs, an image's partner stands at its
    right; where the class of each pixel is known, it is shown below as a tint.

    \b
      pretune data
      pretune data sprites --preview grid.png
      pretune data sprites --preview sizes.png --factor 2
      pretune data digit_grids --set cells=9 --set seed=1 --preview grid.png --number 20
      pretune data image_folder --set path=photos --set side=32 --preview grid.png
    """
    from objectives import SHELVES

    if name is None:
        return _list(SHELVES["data"])
    if preview is not None and (preview.suffix.lower() not in PNG or preview.is_dir()):
        raise StudyError(complaint(str(preview), "a preview is a picture", "a file that ends in .png"))
    images = _read(name, settings, SHELVES["data"])
    groups, names = _groups(images, factor)
    for key, fact in _facts(images):
        click.echo(f"{key:<9}{fact}")
    if preview is not None:
        from search.compare.pictures import picture
        from spaces.files import write_whole

        try:
            write_whole(preview, picture(images, number, groups, names))
        except OSError as error:
            raise StudyError(complaint(str(preview), f"cannot be written: {error.strerror or error}")) from None
        click.echo(f"{'preview':<9}{preview}")


def _list(shelf: Shelf) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("data", "what it is", box=None, header_style="bold", pad_edge=False)
    for name in shelf.names():
        about = inspect.cleandoc(shelf.load(name).module.__doc__ or "").partition("\n\n")[0]
        table.add_row(name, " ".join(about.split()))
    Console(highlight=False).print(table)


def _read(name: str, settings: tuple[str, ...], shelf: Shelf) -> Images:
    """The images of a reader with the `key=value` settings applied.

    Raises:
        StudyError: there is no such reader, a setting is not one of its knobs, or the data cannot be read.
    """
    from spaces.document import Node, assign
    from spaces.reading import config

    if name not in shelf.names():
        raise StudyError(complaint("", f"there is no data '{name}'", shelf.names(), near=name))
    document = Node({}, name)
    for setting in settings:
        document = assign(document, setting)
    reader = shelf.load(name)
    found = config(document, reader.config)
    try:
        return reader.build(found)
    except ValueError as error:
        raise document.wrong(str(error)) from None


def _groups(images: Images, factor: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group `(N,)` of each image in a preview, and the groups' names.

    Raises:
        StudyError: the images have no such factor.
    """
    if factor is None:
        return images.labels, images.classes
    known = 0 if images.factors is None else images.factors.shape[1]
    if images.factors is None or factor >= known:
        allowed = f"0 .. {known - 1}" if known else "leave it out: these images have no factors"
        raise StudyError(complaint(f"--factor {factor}", "there is no such factor", allowed))
    groups = images.factors[:, factor]
    return groups, tuple(str(value) for value in range(int(groups.max(initial=-1)) + 1))


def _facts(images: Images) -> list[tuple[str, Any]]:
    """What is known of images, line by line."""
    facts: list[tuple[str, Any]] = [("images", images.summary())]
    if names := images.classes:
        more = f", and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
        facts.append(("classes", ", ".join(names[:MOST_CLASSES]) + more))
    low, high = images.pixels.min(), images.pixels.max()
    facts.append(("pixels", f"{images.pixels.dtype}, {low:.4g} to {high:.4g}, mean {images.pixels.mean():.4g}"))
    if images.factors is not None:
        sizes = images.factors.max(axis=0, initial=-1) + 1
        facts.append(("factors", f"{len(sizes)}, of {', '.join(map(str, sizes))} classes"))
    if images.masks is not None:
        known = images.masks[images.masks >= 0]
        classes = sorted(set(known.ravel().tolist()))
        facts.append(("masks", f"{known.size / images.masks.size:.0%} of all pixels, classes {classes}"))
    facts.append(("digest", images.digest()))
    return facts
