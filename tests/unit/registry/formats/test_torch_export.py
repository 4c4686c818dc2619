import io

import pytest
import torch
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.seal import seal
from attributor.runtimes.layers import captured
from attributor.runtimes.torch_runtime import configure_threads
from format_bundles import IMAGE_SHAPE, export_bundle, exported_program, small_cnn

configure_threads()

IMAGES = torch.linspace(0, 1, 5 * 64).reshape(5, *IMAGE_SHAPE)


def test_a_program_is_refused_before_it_is_opened_unless_the_operator_allows_it(tmp_path):
    folder = export_bundle(tmp_path)
    bundle = open_bundle(folder)
    (folder / "model.pt2").unlink()  # so that any look at it would say something else
    with pytest.raises(BundleError, match=r"worker\.allow_torch_export = true") as caught:
        load_module(bundle)
    assert caught.value.field == "framework"


def test_an_allowed_program_computes_what_its_module_did_and_so_do_its_gradients(tmp_path):
    module = load_module(open_bundle(export_bundle(tmp_path)), allow_torch_export=True)
    here, there = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    torch.testing.assert_close(module(here), small_cnn()(there))
    gradients = [torch.autograd.grad(net(x)[:, 1].sum(), x)[0] for net, x in ((module, here), (small_cnn(), there))]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())


def test_layers_of_a_program_can_be_seen(tmp_path):
    module = load_module(open_bundle(export_bundle(tmp_path)), allow_torch_export=True)
    with captured(module, ["network.2"]) as outputs:
        module(IMAGES)
    torch.testing.assert_close(outputs["network.2"], small_cnn()[:3](IMAGES))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_program_of_one_batch_size_is_refused_with_how_to_export_it(tmp_path, batch):
    folder = export_bundle(tmp_path, program=exported_program(batch=batch, dynamic=False))
    with pytest.raises(BundleError, match=r"example batch of at least 2, and dynamic_shapes.*Dim") as caught:
        load_module(open_bundle(folder), allow_torch_export=True)
    assert caught.value.field == "file"


def test_a_file_that_is_no_program_is_refused(tmp_path):
    folder = export_bundle(tmp_path, program=b"PK\x03\x04 and no more")
    with pytest.raises(BundleError, match=r"model\.pt2 cannot be loaded"):
        load_module(open_bundle(folder), allow_torch_export=True)


def test_a_program_that_changed_is_not_loaded(tmp_path):
    folder = export_bundle(tmp_path)
    bundle = open_bundle(folder)
    (folder / "model.pt2").write_bytes(exported_program(batch=3))
    with pytest.raises(BundleError, match=r"model\.pt2 has"):
        load_module(bundle, allow_torch_export=True)


def test_torchscript_under_the_name_of_a_program_is_refused(tmp_path):
    folder = export_bundle(tmp_path)
    script = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.save(torch.jit.trace(small_cnn(), IMAGES), script)
    (folder / "model.pt2").write_bytes(script.getvalue())
    with pytest.raises(BundleError, match="TorchScript"):
        seal(folder)
