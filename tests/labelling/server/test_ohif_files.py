from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.labelling.server.http_errors import UnavailableError, UnknownError
from monai_dgm.labelling.server.ohif_files import OHIFFiles


@pytest.fixture
def viewer(tmp_path: Path) -> OHIFFiles:
    folder, extension = tmp_path / "dist", tmp_path / "extension"
    (folder / "assets").mkdir(parents=True)
    extension.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / ".npmrc").write_text("secret")
    page = (
        '<script>window.PUBLIC_URL="/"</script><link href="/a.css"><script src="/app.js"></script><a href="https://x/">'
    )
    (folder / "index.html").write_text(page)
    (folder / "12.bundle.0123456789abcdef.js").write_text('__webpack_require__.p = "/"; fetch("/dicom-web");')
    (folder / "app.css").write_text("a { src: url(/font.woff2) }")
    (folder / "a34f9d1faa5f3315.wasm").write_bytes(b"\0asm")
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    (folder / "leads-out.txt").symlink_to(tmp_path / "secret.txt")
    for name in ("app-config.js", "2-b.js", "1-a.js"):
        (extension / name).write_text(f"// {name}")
    return OHIFFiles(folder, extension)


def test_the_page_names_the_prefix(viewer: OHIFFiles) -> None:
    page = viewer.get("").content.decode()
    assert 'PUBLIC_URL="/ohif/"' in page and 'href="/ohif/a.css"' in page and 'src="/ohif/app.js"' in page
    assert "https://x/" in page
    for place in ("viewer", "viewer/", "local", "a/b/c"):
        assert viewer.get(place).content.decode() == page
        assert not viewer.get(place).lasting


def test_scripts_and_styles_name_the_prefix_and_nothing_else_is_changed(viewer: OHIFFiles) -> None:
    script = viewer.get("12.bundle.0123456789abcdef.js")
    assert script.content == b'__webpack_require__.p = "/ohif/"; fetch("/dicom-web");'
    assert script.lasting and script.media_type == "text/javascript"
    assert b"url(/ohif/font.woff2)" in viewer.get("app.css").content
    assert viewer.get("a34f9d1faa5f3315.wasm").media_type == "application/wasm"
    assert viewer.get("assets/logo.svg").content == b"<svg/>"


def test_the_configuration_is_our_scripts_in_their_order(viewer: OHIFFiles) -> None:
    scripts = b"// 1-a.js\n// 2-b.js\n// app-config.js"
    assert viewer.get("app-config.js").content == b"window.monaiDgmLogin = null;\n" + scripts
    with_login = OHIFFiles(viewer.folder, viewer.extension, login={"authority": "https://login.example.org"})
    told = b'window.monaiDgmLogin = {"authority": "https://login.example.org"};\n'
    assert with_login.get("app-config.js").content == told + scripts


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "assets/../../secret.txt",
        "assets/..%2f..%2fsecret.txt",
        "..\\secret.txt",
        "/etc/passwd.txt",
        ".npmrc",
        "assets/.hidden.js",
        "leads-out.txt",
        "missing.js",
        "assets.x/",
        "a\0.js",
        "index.html/../../secret.txt",
    ],
)
def test_no_path_leads_out(viewer: OHIFFiles, path: str) -> None:
    with pytest.raises(UnknownError):
        viewer.get(path)


def test_without_the_viewer_there_is_advice(tmp_path: Path) -> None:
    viewer = OHIFFiles(tmp_path / "none", tmp_path)
    with pytest.raises(UnavailableError, match="make ohif"):
        viewer.get("app-config.js")
    assert not viewer.installed()
