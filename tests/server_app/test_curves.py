from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_app import curves
from server_app.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def test_nothing_to_draw() -> None:
    assert curves.chart({}) is None
    assert curves.chart({"raw": []}) is None


def test_ends_lie_where_the_ticks_say() -> None:
    drawn = curves.chart({"raw": [(0, 0.5), (4, 1.0)]})
    assert drawn is not None
    assert [tick.label for tick in drawn.across] == ["0", "1", "2", "3", "4"]
    assert [tick.label for tick in drawn.up] == ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    assert drawn.lines[0].points == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]
    assert drawn.lines[0].path == "56.0,258.0 650.0,14.0"


def test_an_arm_without_a_point_has_no_curve() -> None:
    drawn = curves.chart({"raw": [(0, 0.5)], "imputed": []})
    assert drawn is not None
    assert [line.name for line in drawn.lines] == ["raw"]


def test_labels_that_would_collide_share_the_room_about_their_middle() -> None:
    drawn = curves.chart({"a": [(1, 0.50)], "b": [(1, 0.50)], "c": [(1, 0.0)], "d": [(1, 1.0)]})
    assert drawn is not None
    places = {line.name: line.label_at for line in drawn.lines}
    middle = drawn.lines[0].points[0][1]
    assert places["b"] - places["a"] == pytest.approx(16)
    assert (places["a"] + places["b"]) / 2 == pytest.approx(middle)
    assert (places["c"], places["d"]) == (HEIGHT - BOTTOM, TOP)


points = st.lists(
    st.tuples(st.integers(0, 300), st.floats(-1e6, 1e6, allow_nan=False)),
    max_size=12,
    unique_by=lambda point: point[0],
).map(sorted)


@given(st.dictionaries(st.sampled_from("abcdef"), points))
def test_whatever_is_drawn_stays_in_the_drawing_and_is_labelled(
    values: dict[str, list[tuple[float, float]]],
) -> None:
    drawn = curves.chart(values)
    if drawn is None:
        assert not any(values.values())
        return
    for line in drawn.lines:
        assert len(line.points) == len(values[line.name])
        for x, y in line.points:
            assert LEFT - 0.01 <= x <= WIDTH - RIGHT + 0.01
            assert TOP - 0.01 <= y <= HEIGHT - BOTTOM + 0.01
    places = sorted(line.label_at for line in drawn.lines)
    assert all(after - before > 15.99 for before, after in pairwise(places))
    assert places[0] > TOP - 0.01
    assert places[-1] < HEIGHT - BOTTOM + 0.01
    for axis in (drawn.across, drawn.up):
        assert 2 <= len(axis) <= 12
        assert len({tick.label for tick in axis}) == len(axis)
        assert all(len(tick.label) < 10 for tick in axis)
