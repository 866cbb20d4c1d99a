"""What is laid over the radiograph or shown beside it: maps with their sliders, the normal image, the prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.apps.ohif.viewer import Study, Viewer, ask

pytestmark = pytest.mark.service

LAYER = "canvas.monai-dgm-layer"
OPAQUE = """() => { const canvas = document.querySelector('canvas.monai-dgm-layer');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0; return count; }"""
VIEWPORTS = """() => window.cornerstone.getRenderingEngines()[0].getViewports().map(one => ({id: one.id,
    zoom: one.getZoom(), pan: [...one.getPan()], window: one.getProperties().voiRange,
    image: one.getCurrentImageId()}))"""


def test_a_map_lies_on_the_radiograph_and_follows_the_sliders(viewer: Viewer, studies: dict[str, Study]) -> None:
    study = studies["mapped"]
    viewer.open(study)
    to_window, _ = viewer.conversions(study)
    corners = to_window([[0, 0], study.shape[::-1]]).ravel()
    before = viewer.look("map_off")
    viewer.key("o")
    place = viewer.page.wait_for_selector(LAYER).bounding_box()
    found = [place["x"], place["y"], place["x"] + place["width"], place["y"] + place["height"]]
    np.testing.assert_allclose(found, corners, atol=1.5)
    assert viewer.page.get_attribute(LAYER, "data-layer") == "residue"
    assert "residue: shown" in viewer.text("overlay") and "-1, 1" in viewer.text("overlay")
    viewer.page.wait_for_timeout(500)
    assert np.abs(viewer.look("map_residue").astype(int) - before).mean() > 1
    counts = [viewer.page.evaluate(OPAQUE)]
    for _ in range(3):  # a higher threshold leaves less of it
        viewer.key("Shift+ArrowUp")
        counts.append(viewer.page.evaluate(OPAQUE))
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0]
    viewer.page.locator("[data-cy=monaiDgm-threshold]").fill("0")
    assert viewer.page.evaluate(OPAQUE) >= counts[0]
    for _ in range(4):
        viewer.key("Shift+ArrowLeft")
    assert viewer.page.evaluate(f"() => document.querySelector('{LAYER}').style.opacity") == "0.5"
    viewer.shoot("map_sliders")
    for name in ("saliency", "uncertainty"):
        viewer.key("u")
        viewer.page.wait_for_selector(f"{LAYER}[data-layer={name}]")
        viewer.page.wait_for_timeout(500)
        viewer.shoot(f"map_{name}")
    viewer.key("o")
    assert viewer.page.query_selector(LAYER) is None


def test_the_normal_image_beside_follows_zoom_pan_and_window(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.open(studies["mapped"])
    viewer.key("g")
    viewer.page.wait_for_selector(f"{LAYER}[data-layer=normal]")
    viewer.page.wait_for_timeout(1500)
    before = viewer.look("beside_normal")
    viewer.page.evaluate(
        """() => { const one = window.cornerstone.getRenderingEngines()[0].getViewports()[0];
        one.setZoom(1.7); one.setPan([20, -30]); one.setProperties({voiRange: {lower: 12000, upper: 48000}});
        one.render(); }"""
    )
    viewer.page.wait_for_timeout(1500)
    left, right = viewer.page.evaluate(VIEWPORTS)
    assert left["image"] == right["image"] and right["id"] == "monai-dgm-right"
    assert right["zoom"] == pytest.approx(1.7, rel=0.01) and right["pan"] == pytest.approx([20, -30], abs=1)
    assert right["window"] == left["window"] == {"lower": 12000, "upper": 48000}
    after = viewer.look("beside_normal_zoomed")
    pane = slice(before.shape[1] // 2, 3 * before.shape[1] // 4)  # the pane of the normal image
    assert np.abs(after[:, pane].astype(int) - before[:, pane]).mean() > 5
    viewer.key("g")
    viewer.page.wait_for_function(
        "() => window.cornerstone.getRenderingEngines()[0].getViewports().length === 1 || "
        "document.querySelectorAll('.viewport-element').length === 1"
    )


def test_the_prior_beside_tells_the_change_of_burden(viewer: Viewer, studies: dict[str, Study], address: str) -> None:
    now, prior = studies["compared"], studies["prior"]
    viewer.open(now)
    viewer.key("p")
    viewer.wait_for_text("change", "Change since")
    viewer.page.wait_for_timeout(1500)
    viewer.shoot("beside_prior")
    left, right = viewer.page.evaluate(VIEWPORTS)
    assert now.image in left["image"] and prior.image in right["image"]
    shares = [share_of(ask(f"{address}/dgm/numbers?image={one.image}")) for one in (prior, now)]
    words = viewer.text("change")
    assert "2025-01-10" in words and f"{100 * shares[0]:.1f} %" in words
    assert f"{100 * (shares[1] - shares[0]):+.1f} points" in words
    viewer.open(prior)  # before it there is none
    viewer.key("p")
    viewer.message("no earlier radiograph of this patient")


def share_of(numbers: Any) -> float:
    return float(numbers["burden"]["total"]["salient_share"])


def test_a_window_of_1024_pixels_holds_all(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.page.set_viewport_size({"width": 1024, "height": 740})
    viewer.open(studies["mapped"])
    for selector in ("[data-cy=monaiDgm-panel]", "#monai-dgm-status", "[data-cy=return-to-work-list]"):
        place = viewer.page.locator(selector).first.bounding_box()
        assert place is not None and place["x"] >= 0 and place["x"] + place["width"] <= 1024
    for button in viewer.page.query_selector_all("header button, [data-cy=monaiDgm-panel] button"):
        place = button.bounding_box()
        assert place is None or (place["x"] >= 0 and place["x"] + place["width"] <= 1024)
    pane = viewer.page.locator(".viewport-element").first.bounding_box()
    assert pane is not None and pane["width"] > 500
    viewer.shoot("narrow")
