"""Reliability diagrams."""

from xml.etree import ElementTree

import pytest

from evaluation.report.reliability import SIDE, reliability_chart
from matching.verdict.reliability import Bin

SVG = "{http://www.w3.org/2000/svg}"


def test_a_dot_lies_at_its_shares_and_carries_its_count():
    chart = reliability_chart({"a < b": [Bin(10, 9, 0.75), Bin(4, 0, 0.25)], "other": [Bin(3, 3, 1.0)]})
    panels = ElementTree.fromstring(chart).findall(f"{SVG}g")
    assert [panel.find(f"{SVG}text").text for panel in panels] == ["a < b", "other"]
    dots = panels[0].findall(f".//{SVG}circle")
    places = [(float(dot.get("cx")) / SIDE, 1 - float(dot.get("cy")) / SIDE) for dot in dots]
    assert places == [pytest.approx((0.75, 0.9), abs=1e-3), pytest.approx((0.25, 0), abs=1e-3)]
    counts = [group.find(f"{SVG}text").text for group in panels[0].findall(f"{SVG}g")]
    assert counts == ["10", "4"]
