"""Whether a study fits its images: asked before the first trial, so that no trial finds out."""

from __future__ import annotations

from typing import Any

import torch

from objectives import SHELVES, cell_probes, cluster_probes, factor_probes
from objectives.episodes import METRICS as EPISODES
from objectives.images.images import TRAIN, Images
from objectives.images.pools import Pool
from objectives.images.self_report import sorts
from objectives.method import Method, Task
from objectives.pretraining import steps_per_epoch
from spaces.components import Component
from spaces.document import Node
from spaces.space import Group, Switch, settled
from spaces.study import Study


def check(study: Study, data: Images) -> None:
    """Raises StudyError where a metric needs labels that the data lacks, or a component cannot serve its images."""
    methods, architectures = components(study, "method"), components(study, "architecture")
    bodies = {}
    for place, component, config in architectures:
        try:
            bodies[component.name] = component, component.build(config, data.shape)
        except ValueError as error:
            raise place.wrong(f"'{component.name}' cannot serve images of shape {data.shape}: {error}") from None
    task = _task(study, data)
    built = []
    for place, component, config in methods:
        _, body = next(b for b in bodies.values() if component.needs <= b[0].offers)
        try:
            built.append((component, component.build(config, body, task)))
        except ValueError as error:
            what = f"{task.images} training images of shape {data.shape} in batches of {task.batch}"
            raise place.wrong(f"'{component.name}' cannot serve {what}: {error}") from None
    _plugins_fit(study, built, task)
    _drawing_fits(study, data, task)
    lacking = _lacking(study, data, [method for _, method in built], [component for component, _ in bodies.values()])
    _goal_fits(study, data, lacking)


def _task(study: Study, data: Images) -> Task:
    """What methods of a study are to be trained on, knobs that are open at their defaults."""
    optimizer, images = study.space.parts["optimizer"], int((data.part == TRAIN).sum())
    assert isinstance(optimizer, Group)
    batch = min(settled(optimizer)["batch"], images)
    steps = study.goal.epochs * steps_per_epoch(images, batch)
    return Task(data.shape, images, batch, steps, data.partner is not None)


def _plugins_fit(study: Study, methods: list[tuple[Component, Method]], task: Task) -> None:
    """Raises StudyError where a plugin can be added to none of the methods."""
    for place, plugin, config in components(study, "plugin"):
        able = [(component, method) for component, method in methods if plugin.needs <= component.offers]
        if not able:
            wants, names = ", ".join(sorted(plugin.needs)), ", ".join(component.name for component, _ in methods)
            raise place.wrong(f"'{plugin.name}' needs {wants} of a method, which none of {names} offers")
        for component, method in able:
            try:
                plugin.build(config)(method, task)
            except ValueError as error:
                raise place.wrong(f"'{plugin.name}' cannot be added to '{component.name}': {error}") from None


def _drawing_fits(study: Study, data: Images, task: Task) -> None:
    """Raises StudyError where images cannot be drawn as a sampler or a pool would have it."""
    pool = Pool(torch.empty(task.images, 0), torch.arange(task.images))
    for place, sampler, config in components(study, "sampler"):
        try:
            sampler.build(config)(pool, task.batch, 1, study.goal.seed)
        except ValueError as error:
            raise place.wrong(f"'{sampler.name}' cannot draw from {task.images} training images: {error}") from None
    for place, filling, _ in components(study, "pool"):
        if data.partner is not None and filling.name != "real":
            raise place.wrong(f"'{filling.name}' cannot fill up pairs: what it adds has no partner", ["real"])


def _lacking(study: Study, data: Images, methods: list[Method], bodies: list[Component]) -> dict[str, str]:
    """What each metric that not every study gives would need, where this one or its images lack it."""
    _, height, width = data.shape
    needs = [
        (("rotation_accuracy",), height == width, f"square images, and these are of {height} × {width} pixels"),
        (factor_probes.METRICS, data.factors is not None, "images with known factors"),
        (cell_probes.METRICS, data.masks is not None, "images whose pixels have classes"),
        (cell_probes.METRICS, any("maps" in body.offers for body in bodies), "an architecture that offers maps"),
        (EPISODES, study.probe.episodes > 0, "'probe.episodes' above 0"),
        (cluster_probes.METRICS, any(map(sorts, methods)), "a method that has clusters of its own"),
    ]
    return {name: what for names, there, what in needs if not there for name in names}


def _goal_fits(study: Study, data: Images, lacking: dict[str, str]) -> None:
    """Raises StudyError where a metric that is sought or bounded cannot be had from these images."""
    search = study.document.value.get("search", study.document)
    named = {full: "subject_to" for bound in study.goal.bounds for _, full in bound.names}
    named |= {target.metric: "metric" for target in study.goal.targets}
    for name in [name for name in named if name in study.metrics]:
        node = search.value.get(named[name], search) if isinstance(search.value, dict) else search
        if study.metrics[name].labels and not data.labelled:
            free = [other for other, metric in study.metrics.items() if not metric.labels]
            raise node.wrong(f"the metric '{name}' needs labels, and the data has none for some part", free)
        if name in lacking:
            raise node.wrong(f"the metric '{name}' needs {lacking[name]}")


def components(study: Study, kind: str) -> list[tuple[Node, Component, Any]]:
    """Each component that the study may take for `kind`, its open knobs at their defaults, and its place."""
    space = study.document.value.get("space", study.document)
    place = space.value.get(kind, space)
    part = study.space.parts[kind]
    branches = part.branches if isinstance(part, Switch) else part.parts if isinstance(part, Group) else {}
    found = []
    for name, group in branches.items():
        component = SHELVES[kind].load(name)
        node = place.value.get(name, place) if isinstance(place.value, dict) else place
        found.append((node, component, component.config(**settled(group))))
    return found
