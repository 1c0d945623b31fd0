"""Moving pictures of a heart whose volumes are known: short axis, or four chambers, with exact label maps.

A picture is a pile of smooth shapes, each given by its signed distance: surroundings, fat, the right ventricle and its
wall, muscle, blood, papillary muscles. What is around lies still; the shapes move with the chambers' sizes. Frame f is
at f / F of the interval between two R peaks, so that the last frame is followed by the first.

Labels: 0 background, 1 cavity of the left ventricle, 2 its muscle, 3 cavity of the right ventricle.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from stethos.errors import RecipeError
from stethos.synth.beating import chambers
from stethos.synth.rhythm import stream
from stethos.synth.world import World
from stethos.types import Volume

VIEWS = ("sax", "4ch")


class Shape(NamedTuple):
    """Something bright or dark, drawn over what was drawn before."""

    away: np.ndarray  # (F, H, W) mm, negative inside
    grey: float
    label: int  # 0 where it is not labelled, and takes away what was


def cine(
    visit: Mapping[str, Any], seed: int, world: World, size: int = 48, frames: int = 16, view: str = "sax"
) -> tuple[Volume, np.ndarray]:
    """The heart of one examination, one RR interval long.

    Args:
        visit: One row of `examined`.
        seed: Of noise and texture.
        world: A world of cines.
        size: H = W, pixels.
        frames: F.
        view: "sax" (middle of the short axis) or "4ch".

    Returns:
        The cine `(F, 1, H, W)`, blood about 0.85; and its labels `(F, H, W)`, uint8.

    Raises:
        RecipeError: The view is none of these.
    """
    if view not in VIEWS:
        raise RecipeError(f"a simulated cine is a view {' or '.join(VIEWS)}; got {view!r}")
    field = world["picture.field"][VIEWS.index(view)]
    pixel = field / size
    x, y = _grid(visit, size, pixel, world)
    sizes = {name: value[:, None, None].astype(np.float32) for name, value in chambers(visit, frames, world).items()}
    shapes = _short_axis(x, y, sizes, visit, world) if view == "sax" else _four_chambers(x, y, sizes, world)
    still = _surroundings(size, pixel, stream(visit, seed, 41), world)
    values, labels = _painted(still, shapes, pixel)
    values = values * np.exp(world["picture.gain"] * visit["picture_gain"])
    values = _rician(values, world["picture.noise"] * world.noise, stream(visit, seed, 42))
    return Volume(values[:, None], (8.0, pixel, pixel), 60 / visit["heart_rate"] / frames), labels


def _grid(visit: Mapping[str, Any], size: int, pixel: float, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in mm about the middle of the heart, turned as it lies, `(1, H, W)` each; x to the left wall."""
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    down, right = np.meshgrid(axis, axis, indexing="ij")
    right = right - world["picture.shift"] * visit["picture_right"]
    down = down - world["picture.shift"] * visit["picture_down"]
    turn = np.deg2rad(world["picture.rotation"] * visit["picture_turn"])
    x, y = np.cos(turn) * right + np.sin(turn) * down, -np.sin(turn) * right + np.cos(turn) * down
    return x[None].astype(np.float32), y[None].astype(np.float32)  # half the time of doubles


def _short_axis(
    x: np.ndarray, y: np.ndarray, sizes: Mapping[str, np.ndarray], visit: Mapping[str, Any], world: World
) -> list[Shape]:
    """A ring of muscle about blood, and the crescent of the right ventricle on its left in the picture."""
    blood, muscle, _, _, fat, wall = world["picture.levels"]
    x = x - 20.0  # so that both ventricles are about the middle
    oval = 1 + 0.03 * visit["picture_oval"] * np.cos(2 * (np.arctan2(y, x) - visit["picture_oval turn"]))
    from_middle = np.hypot(x, y) * oval
    septal = np.arctan2(y, -x)  # 0 towards the right ventricle
    span = np.deg2rad(world["form.rv_span"])
    bulge = np.cos(np.pi / 2 * np.clip(septal / span, -1, 1)) ** 2
    right = sizes["outer"] + sizes["rv_width"] * bulge
    radius = sizes["radius"]
    papillary = [
        np.hypot(x - 0.55 * radius * np.cos(angle), y - 0.55 * radius * np.sin(angle)) - 0.17 * radius.mean()
        for angle in (0.7, -0.9)
    ]
    return [
        Shape(from_middle - right - 7.0, fat, 0),
        Shape(from_middle - right - 3.0, wall, 0),
        Shape(from_middle - right, blood - 0.02, 3),
        Shape(from_middle - sizes["outer"], muscle, 2),
        Shape(from_middle - radius, blood, 1),
        *(Shape(away, muscle + 0.06, 1) for away in papillary),
    ]


def _four_chambers(x: np.ndarray, y: np.ndarray, sizes: Mapping[str, np.ndarray], world: World) -> list[Shape]:
    """The long axis lies oblique: the apex stays, the valve plane moves towards it, the atria fill meanwhile."""
    blood, muscle, _, _, fat, wall = world["picture.levels"]
    tilt = np.deg2rad(-40.0)
    along = np.cos(tilt) * y - np.sin(tilt) * x  # mm, from the middle towards the atria
    across = np.cos(tilt) * x + np.sin(tilt) * y  # towards the left wall
    from_apex = along + 62.0
    length, radius, outer = sizes["length"], sizes["radius"], sizes["outer"]
    thick = outer - radius
    across = across - 12.0
    half = radius * _bullet(from_apex - thick, length)
    half_outer = outer * _bullet(from_apex, length + thick)
    plane = from_apex - length - thick  # mm beyond the valve plane
    right_half = 0.5 * sizes["rv_width"] * _bullet(from_apex - 0.18 * length, 0.82 * length)
    middle = -(half_outer + right_half)
    filled = (length.max() - length) / np.maximum(length.max() - length.min(), 1e-6)  # 1 where the atria are full
    atria = [
        _ellipse(across - centre, plane - 17.0 - 2 * filled, 17.0 + 4 * filled, 16.0 + 4 * filled)
        for centre in (2.0, -(half_outer.max(axis=(1, 2), keepdims=True) + 14.0))
    ]
    left_inside = _all_of(np.abs(across) - half, plane, thick - from_apex)
    left_outside = _all_of(np.abs(across) - half_outer, plane, -from_apex)
    right_inside = _all_of(np.abs(across - middle) - right_half, plane, 0.18 * length - from_apex)
    closed = np.minimum.reduce([left_outside, right_inside - 3.0, *(one - 2.5 for one in atria)])
    return [
        Shape(closed - 5.0, fat, 0),
        Shape(closed, wall, 0),
        *(Shape(one, blood - 0.04, 0) for one in atria),
        Shape(right_inside, blood - 0.02, 3),
        Shape(left_outside, muscle, 2),
        Shape(left_inside, blood, 1),
    ]


def _all_of(*away: np.ndarray) -> np.ndarray:
    """Inside where all are inside."""
    return functools.reduce(np.maximum, away)


def _bullet(from_apex: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Half width of a bullet relative to its radius: half an ellipse, then a cylinder as long."""
    nose = 0.5 * length
    part = np.clip((nose - from_apex) / nose, 0, 1)
    return np.where(from_apex > 0, np.sqrt(1 - part**2), 0.0)


def _ellipse(across: np.ndarray, along: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """About the distance to an ellipse, mm."""
    return (np.hypot(across / width, along / height) - 1) * np.minimum(width, height)


def _surroundings(size: int, pixel: float, rng: np.random.Generator, world: World) -> np.ndarray:
    """Lung, the chest's wall above and the liver below, with a slow field over all, `(H, W)`."""
    _, _, lung, liver, fat, _ = world["picture.levels"]
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    down, right = np.meshgrid(axis, axis, indexing="ij")
    half = size * pixel / 2
    chest = np.hypot(right / 1.25, down - 6 * rng.standard_normal()) - half * (0.92 + 0.03 * rng.standard_normal())
    dome = np.hypot((right + 10) / 1.6, down - half * (1.35 + 0.06 * rng.standard_normal())) - half * 0.62
    grey = lung + (fat - lung) * _inside(-chest, pixel) + (liver - lung) * _inside(dome, pixel)
    field = np.zeros((size, size))
    for _ in range(5):
        waves, phase = rng.normal(0, 1.4, 2) * 2 * np.pi / (2 * half), 2 * np.pi * rng.random()
        field += np.cos(waves[0] * right + waves[1] * down + phase)
    return np.maximum(grey + world["picture.texture"] * field * (0.3 + grey), 0)


def _painted(still: np.ndarray, shapes: list[Shape], pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Each shape over those before, with edges as soft as a pixel; labels by the sign of the distance."""
    frames = max(len(shape.away) for shape in shapes)
    values = np.broadcast_to(still.astype(np.float32), (frames, *still.shape)).copy()
    labels = np.zeros(values.shape, np.uint8)
    for shape in shapes:
        values += (np.float32(shape.grey) - values) * _inside(shape.away, pixel)
        labels[np.broadcast_to(shape.away < 0, labels.shape)] = shape.label
    return values, labels


def _inside(away: np.ndarray, pixel: float) -> np.ndarray:
    """1 inside, 0 outside, over about a pixel."""
    return 1 / (1 + np.exp(np.clip(away / (0.45 * pixel), -30, 30)))


def _rician(values: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of a picture whose two channels are noisy, float32."""
    if noise == 0:
        return values.astype(np.float32)
    real, imaginary = noise * rng.standard_normal((2, *values.shape), np.float32)
    return np.hypot(values.astype(np.float32) + real, imaginary)
