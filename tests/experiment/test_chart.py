"""Charts and pages are well-formed, complete and self-contained."""

import base64
import math
import re
import xml.etree.ElementTree as ET

import pytest

from goodspeed.experiment import html_page as page
from goodspeed.experiment.chart import HEIGHT, WIDTH, Chart, Series, svg

LINES = Chart("Lines", "x", "y", (Series("one", [0, 5, 10], [0, 50, 100]), Series("two <&>", [0, 10], [20, 30])))
BARS = Chart("Bars", "policy", "y", (Series("a", [0, 1], [4, 6], [3, 5], [5, 7]),), categories=("fixed", "gradient"))
LOG = Chart("Log", "ms", "%", (Series("a", [0.0, 1, 10, 100], [0, 10, 50, 100]),), is_log_x=True)
EMPTY = Chart("Nothing", "x", "y", (Series("a", [], []),))
FLAT = Chart("One point", "x", "y", (Series("a", [3.0], [math.nan]),), is_log_x=True)


@pytest.mark.parametrize("chart", [LINES, BARS, LOG, EMPTY, FLAT], ids=lambda chart: chart.title)
def test_a_chart_is_well_formed_and_stays_in_its_frame(chart: Chart) -> None:
    drawing = ET.fromstring(svg(chart))
    for circle in drawing.iter("circle"):
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT
    for bar in drawing.iter("rect"):
        assert float(bar.attrib["y"]) >= 0
        assert float(bar.attrib["height"]) >= 0


def test_points_are_placed_according_to_the_axis() -> None:
    drawing = ET.fromstring(svg(LINES))
    labels = {
        text.text: float(text.attrib["y"]) for text in drawing.iter("text") if text.attrib.get("text-anchor") == "end"
    }
    middle = [float(circle.attrib["cy"]) for circle in drawing.iter("circle")][1]
    assert middle == pytest.approx((labels["40"] + labels["60"]) / 2 - 4, abs=0.1)


def test_categories_are_named_and_get_bars() -> None:
    drawing = ET.fromstring(svg(BARS))
    assert {"fixed", "gradient"} <= {text.text for text in drawing.iter("text")}
    assert not list(drawing.iter("polyline"))
    heights = [float(bar.attrib["height"]) for bar in drawing.iter("rect")]
    assert heights[1] / heights[0] == pytest.approx(6 / 4, rel=1e-3)


def test_a_logarithmic_axis_leaves_out_zero() -> None:
    assert len(list(ET.fromstring(svg(LOG)).iter("circle"))) == 3


def test_a_page_loads_no_external_resources_and_contains_its_data() -> None:
    text = page.page("A <title>", [page.charts(LINES, BARS), page.table(["a"], [["<b>"]])])
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|https?://|<script""", text)
    assert "prefers-color-scheme: dark" in text
    assert "&lt;b&gt;" in text
    data = [base64.b64decode(found).decode() for found in re.findall(r"base64,([^\"]+)", text)]
    assert data[0].splitlines() == [
        "series,x,y,low,high",
        "one,0,0,,",
        "one,5,50,,",
        "one,10,100,,",
        "two <&>,0,20,,",
        "two <&>,10,30,,",
    ]
    assert data[1].splitlines()[1] == "a,fixed,4,3,5"
