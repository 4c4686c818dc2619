import orjson
import pytest
from attributor.errors import BundleError
from attributor.jobs.model import Part
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.proof.golden import GOLDEN, check_golden, write_golden
from attributor.registry.sources import readers
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from bundle_nets import TOKENS
from bundles import PYTHON, token_bundle, write_file_model
from tokenizer_files import word_piece

configure_threads()

IDS = {"name": "ids", "kind": "tokens", "vocabulary": 12, "embedding": "embedding", "source": "text", "part": "ids"}
MASK = {"name": "mask", "kind": "tokens", "vocabulary": 2, "attributed": False, "source": "text", "part": "mask"}


def text_bundle(root, *, tokenizer: bytes = word_piece(), **length):
    return write_file_model(
        root,
        "texts",
        made_of=PYTHON,
        files={"model.py": TOKENS.encode(), "tokenizer.json": tokenizer},
        inputs=[
            IDS | {"shape": [6]} | length,
            MASK | {"shape": [6]} | {k: v for k, v in length.items() if k != "pad_id"},
        ],
        output={"name": "logits", "labels": ["bad", "fair", "good"]},
        baselines={"nothing": {"ids": -1, "mask": 1}},
        sources={"text": {"kind": "text", "tokenizer": "tokenizer.json"}},
    )


def made(folder):
    bundle = open_bundle(folder)
    return readers(bundle.folder, bundle.manifest)


def test_a_bundle_without_sources_has_no_readers(tmp_path):
    assert made(token_bundle(tmp_path)) == {}


def test_a_text_is_read_by_the_bundles_own_tokenizer(tmp_path):
    parts, text = made(text_bundle(tmp_path, variable=True))["text"].read("Hello world", field="f")
    assert parts[Part.IDS].tolist() == [2, 4, 5, 3]
    assert text.texts == ("Hello world",)


def test_a_tokenizer_that_changed_since_it_was_sealed_is_refused(tmp_path):
    folder = text_bundle(tmp_path, variable=True)
    bundle = open_bundle(folder)
    (folder / "tokenizer.json").write_bytes(word_piece().replace(b"hello", b"hullo"))
    with pytest.raises(BundleError, match="sha256") as caught:
        readers(bundle.folder, bundle.manifest)
    assert caught.value.field == "files.tokenizer.json.sha256"


def test_a_file_that_is_no_tokenizer_names_its_source(tmp_path):
    with pytest.raises(BundleError, match="tokenizer's file") as caught:
        made(text_bundle(tmp_path, tokenizer=b"{}", variable=True))
    assert caught.value.field == "sources.text"


def test_a_molecule_is_read_into_the_declared_shapes(tmp_path):
    pytest.importorskip("rdkit")
    of_source = {"kind": "tensor", "source": "molecule"}
    folder = write_file_model(
        tmp_path,
        "molecules",
        made_of=PYTHON,
        files={"model.py": TOKENS.encode()},
        inputs=[
            {"name": "atoms", "shape": [5, 13], "part": "atoms"} | of_source,
            {"name": "mask", "shape": [5], "part": "atom_mask", "attributed": False} | of_source,
        ],
        output={"name": "logits", "labels": ["no", "yes"]},
        baselines={"zero": {"atoms": 0.0, "mask": 1.0}},
        sources={"molecule": {"kind": "smiles", "elements": ["C", "N", "O"]}},
    )
    parts, molecule = made(folder)["molecule"].read("CCO", field="f")
    assert parts[Part.ATOMS].shape == (5, 13)
    assert [atom.symbol for atom in molecule.atoms] == ["C", "C", "O"]


@pytest.mark.parametrize("length", [{"pad_id": 0}, {"variable": True}])
def test_a_golden_example_may_be_a_text(tmp_path, length):
    folder = text_bundle(tmp_path, **length)
    write_golden(folder, {"text": "Hello world"})
    golden = orjson.loads((folder / GOLDEN).read_bytes())
    assert golden["input"] == {"text": "Hello world"}
    assert len(golden["attributions"]["ids"]) == (4 if "variable" in length else 6)
    bundle = open_bundle(folder)
    model = TorchModel(load_module(bundle), bundle.info)
    sources = readers(folder, bundle.manifest)
    assert check_golden(model, bundle.info, orjson.dumps(golden), sources) is None
    other = orjson.dumps(golden | {"input": {"text": "good world"}})
    assert check_golden(model, bundle.info, other, sources) is not None
    wrong = orjson.dumps(golden | {"input": {"text": ""}})
    assert "input.text: is empty" in str(check_golden(model, bundle.info, wrong, sources))
