"""Whether a manifest could mend a bundle that failed: real bundles, put to the proof."""

import pytest
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import check_bundles
from attributor.registry.scaffold.refusals import is_of_the_model, what_instead
from bundles import LINEAR, write_bundle


def found(root):
    (report,) = check_bundles(root)
    assert report.reason is not None
    return FolderCatalog(root).get(report.ref), report


@pytest.mark.parametrize(
    "code",
    [
        LINEAR.replace("return Linear()", "raise RuntimeError"),
        LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional"),
        LINEAR.replace("return nn.functional", "x = x + torch.rand(1)\n        return nn.functional"),
    ],
    ids=["it raises", "rows see each other", "it is random"],
)
def test_code_is_mended_by_its_author(tmp_path, code):
    write_bundle(tmp_path, "pear", code=code)
    info, report = found(tmp_path)
    assert is_of_the_model(info, report)
    assert "Change the code" in what_instead(info, report)


def test_what_a_manifest_says_is_mended_there(tmp_path):
    write_bundle(tmp_path, "pear", labels=["a", "b", "c"])
    assert not is_of_the_model(*found(tmp_path))
