"""The drawings of the report: what they count, and where they put things."""

import math
import re

import numpy as np
import pytest

from evaluation.report import charts
from evaluation.report.model import Report, Row
from evaluation.report.tradeoff import tradeoff

NAN = math.nan


def test_changes_are_counted():
    moved = charts.change([10, 20, 30, 40, NAN], [15, 20.04, 29.9, 60, NAN])
    assert (moved.better, moved.equal, moved.worse) == (2, 1, 1)
    assert moved.mean == pytest.approx((5 + 0.04 - 0.1 + 20) / 4)
    assert math.isnan(charts.change([NAN], [NAN]).mean)


def test_the_chart_places_values_worst_first():
    svg = charts.ap_chart(["late", "early & <1>", "none"], [100.0, 0.0, NAN], [50.0, 100.0, NAN], "title")
    assert svg.count('<g class="') == 2
    assert svg.index("early &amp; &lt;1&gt;: 0.0 to 100.0") < svg.index("late: 100.0 to 50.0")
    early, late = (group for group in svg.split("<g ")[1:])
    assert early.startswith('class="up"') and late.startswith('class="down"')
    top, bottom, middle = 14.0, 250.0, 132.0
    assert f'y1="{bottom}" y2="{top}"' in early and f'y1="{top}" y2="{middle}"' in late
    assert f'class="before" cx="280.0" cy="{bottom}"' in early and f'class="after" cx="280.0" cy="{top}"' in early


def test_labels_of_the_plot_cover_nothing():
    """Rows that lie close together, as those of one reranker on several models do."""
    random = np.random.default_rng(0)
    rows = []
    for name in ("global", "untrained", "rootsift", "histogram"):
        for suffix, ms in (("", 1.0), ("+ransac", 200.0), ("+superglobal", 2.0)):
            metrics = {"medium": {"mAP": float(random.uniform(60, 100))}}
            times = {"search": 1.0, "rerank": ms * float(random.uniform(1, 1.5))}
            rows.append(Row(name + suffix, metrics, times, {"global": 8192.0, "local": 1e5}))
    svg = tradeoff(Report("x", rows, {}, {}), "medium")
    names = re.findall(r'<text class="name" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]+)<', svg)
    assert sorted(name for *_, name in names) == sorted(row.method for row in rows)
    letter, height = 7.2, 9.0  # of a font of 13 units
    labels = []
    for x, y, anchor, name in names:
        left = float(x) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * letter * len(name)
        labels.append((left, float(y) - height, left + letter * len(name), float(y)))
    circles = [tuple(map(float, found)) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', svg)]
    boxes = labels + [(x - 0.7 * r, y - 0.7 * r, x + 0.7 * r, y + 0.7 * r) for x, y, r in circles]
    for i, one in enumerate(labels):
        assert one[0] >= 0 and one[2] <= 1000 and one[1] >= 0 and one[3] <= 320
        for other in boxes[:i] + boxes[i + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, f"{names[i][3]} covers something"
