"""From sizes and boxes to sizes: what must hold of all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.layout import Layout, Size, lay_out, within
from service.domain.rendition import Fit, Preset

edges = st.integers(1, 65_535)
sizes = st.builds(Size, edges, edges)
boxes = st.builds(Preset, st.just("any"), edges, edges, st.sampled_from(Fit), enlarge=st.booleans())
strips = st.builds(Preset, st.just("any"), st.none(), edges) | st.builds(Preset, st.just("any"), edges, st.none())


@pytest.mark.parametrize(
    ("picture", "preset", "layout"),
    [
        (Size(4000, 3000), Preset("a", 320, 320), (Size(320, 240),) * 3),
        (Size(4000, 3000), Preset("a", 320, None), (Size(320, 240),) * 3),
        (Size(4000, 3000), Preset("a", None, 300), (Size(400, 300),) * 3),
        (Size(100, 50), Preset("a", 320, 320), (Size(100, 50),) * 3),
        (Size(100, 50), Preset("a", 320, 320, enlarge=True), (Size(320, 160),) * 3),
        (Size(4000, 3000), Preset("a", 160, 160, Fit.COVER), (Size(213, 160), Size(160, 160), Size(160, 160))),
        (Size(100, 50), Preset("a", 200, 200, Fit.COVER), (Size(100, 50), Size(50, 50), Size(50, 50))),
        (Size(100, 50), Preset("a", 80, 80, Fit.COVER, enlarge=True), (Size(160, 80), Size(80, 80), Size(80, 80))),
        (Size(100, 50), Preset("a", 200, 200, Fit.CONTAIN), (Size(100, 50), Size(100, 50), Size(200, 200))),
        (Size(4000, 3000), Preset("a", 200, 200, Fit.CONTAIN), (Size(200, 150), Size(200, 150), Size(200, 200))),
        (Size(60_000, 1), Preset("a", 100, 100), (Size(100, 1),) * 3),
        (Size(1, 1), Preset("a", 100, 100, Fit.COVER), (Size(1, 1),) * 3),
    ],
)  # fmt: skip
def test_known_layouts(picture: Size, preset: Preset, layout: tuple[Size, Size, Size]) -> None:
    assert lay_out(picture, preset) == Layout(*layout)


@given(sizes, boxes | strips)
def test_no_edge_is_empty_or_exceeds_the_box_and_the_cut_fits_both(picture: Size, preset: Preset) -> None:
    made = lay_out(picture, preset)
    for one in (made.scaled, made.cut, made.canvas):
        assert min(one.width, one.height) >= 1
    assert made.cut.width <= min(made.scaled.width, made.canvas.width)
    assert made.cut.height <= min(made.scaled.height, made.canvas.height)
    assert made.canvas.width <= (preset.width or made.canvas.width)
    assert made.canvas.height <= (preset.height or made.canvas.height)


@given(sizes, boxes | strips)
def test_nothing_is_enlarged_unless_it_is_said(picture: Size, preset: Preset) -> None:
    made = lay_out(picture, preset)
    if not preset.enlarge:
        assert made.scaled.width <= picture.width
        assert made.scaled.height <= picture.height


@given(sizes, boxes | strips)
def test_proportions_are_kept_to_the_pixel(picture: Size, preset: Preset) -> None:
    scaled = lay_out(picture, preset).scaled
    exact = scaled.width * picture.height / picture.width
    assert abs(scaled.height - exact) <= 0.5 + 0.5 * picture.height / picture.width + 1e-6 or 1 in {
        scaled.width,
        scaled.height,
    }


@given(sizes, boxes)
def test_what_covers_has_the_proportions_of_the_box_and_what_contains_is_the_box(picture: Size, preset: Preset) -> None:
    made, box = lay_out(picture, preset), Size(preset.width or 0, preset.height or 0)
    if preset.fit is Fit.CONTAIN or (preset.fit is Fit.COVER and preset.enlarge):
        assert made.canvas == box
    if preset.fit is Fit.COVER:
        assert made.cut == made.canvas
        assert abs(made.cut.width * box.height - made.cut.height * box.width) <= max(box.width, box.height)
        assert made.scaled.width == made.cut.width or made.scaled.height == made.cut.height


@given(sizes, edges)
def test_a_picture_is_brought_within_an_edge_and_stays_there(picture: Size, edge: int) -> None:
    once = within(picture, edge)
    assert once.longest == min(edge, picture.longest)
    assert within(once, edge) == once
    assert within(picture, None) == picture
