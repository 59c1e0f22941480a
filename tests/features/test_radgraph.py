"""RadGraph against the Python package radgraph 0.1.18, whose answers on tiny random archives are golden values.

tiny_models/: one archive with its weights, made with transformers 4.49.0 and torch 2.13.0. radgraph_0_1_18/: three more
(every model type, other widths and depths, a ModernBERT, segments of 32 pieces), whose weights follow from their names.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unix_bench.errors import UserError
from unix_bench.features.radgraph import RadGraph, archive_digest, encoder_name, find_archive, network
from unix_bench.scoring.report import radgraph_reward

GOLDEN = Path(__file__).parents[1] / "golden" / "report_metrics"
TINY = GOLDEN / "tiny_models"
ARCHIVE, ENCODER = TINY / "radgraph_tiny_random", TINY / "bert-tiny"
EXPECTED = json.loads((TINY / "radgraph_tiny_expected.json").read_text(encoding="utf-8"))
SECOND = json.loads((GOLDEN / "radgraph_0_1_18" / "cases.json").read_text(encoding="utf-8"))
ENCODERS = {"bert-tiny": ENCODER, "modernbert-tiny": GOLDEN / "radgraph_0_1_18" / "modernbert-tiny"}
EMPTY = {"text": "", "entities": {}, "data_source": None, "data_split": "inference"}


@pytest.fixture(scope="module")
def tiny() -> RadGraph:
    return RadGraph.load(ARCHIVE, ENCODER)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tiny archive in a folder of its own, to be broken."""
    return Path(shutil.copytree(ARCHIVE, tmp_path / "radgraph"))


def tensor(case: dict[str, Any], name: str) -> torch.Tensor:
    """A tensor of one of the second archives: noise seeded by its name, as large as the package's own."""
    shape = case["tensors"][name]
    noise = np.random.RandomState(zlib.crc32(f"{case['seed']} {name}".encode())).standard_normal(shape)
    if len(shape) == 1:
        noise = 0.1 * noise + (1.0 if name.endswith("orm.weight") else np.array(case["bias"].get(name, 0.0)))
    elif "embedding" not in name:
        noise = 2.0 * noise / np.sqrt(shape[1])
    return torch.from_numpy(noise.astype(np.float32))


def write_archive(case: dict[str, Any], directory: Path) -> Path:
    (directory / "vocabulary").mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(case["config"]))
    for kind in ("ner", "relation"):
        lines = "\n".join(case[f"{kind}_labels"]) + "\n"
        (directory / "vocabulary" / f"{case['model_type']}__{kind}_labels.txt").write_text(lines)
    torch.save({name: tensor(case, name) for name in case["tensors"]}, directory / "weights.th")
    return directory


def short(annotation: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": annotation["text"],
        "entities": [list(entity.values()) for entity in annotation["entities"].values()],
    }


def test_the_package_s_answers_to_the_letter(tiny: RadGraph) -> None:
    hypotheses, references = zip(*EXPECTED["pairs"], strict=True)
    ours = tiny.annotate([*hypotheses, *references])
    assert json.dumps(ours) == json.dumps(EXPECTED["hyp_annotations"] + EXPECTED["ref_annotations"])
    rewards = radgraph_reward(ours[: len(hypotheses)], ours[len(hypotheses) :])["partial"][:, 0]
    assert rewards == pytest.approx(EXPECTED["partial"], abs=1e-9)
    assert (tiny.name, tiny.model_type) == ("radgraph", "radgraph")


@pytest.mark.parametrize("case", SECOND["cases"], ids=lambda case: case["model_type"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_model_type(case: dict[str, Any], batch_size: int, tmp_path: Path) -> None:
    model = RadGraph.load(write_archive(case, tmp_path / "archive"), ENCODERS[case["encoder"]])
    assert model.model_type == case["model_type"]
    for text, ours, theirs in zip(
        SECOND["texts"], model.annotate(SECOND["texts"], batch_size), case["annotations"], strict=True
    ):
        assert short(ours) == theirs, text


WORDS = st.sampled_from(
    ["no", "small", "left", "effusion", ".", "(T1-T2)", "1.5cm", "\u200b", "[SEP]", "é", "\ud800", "🫀", "\x00"]
)
TEXTS = st.lists(st.lists(WORDS, max_size=30).map(" ".join), max_size=5)


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_any_texts_in_any_order(tiny: RadGraph, texts: list[str], random: Any) -> None:
    told: list[int] = []
    found = tiny.annotate(texts, 2, told.append)
    assert sum(told) == len(texts)
    order = random.sample(range(len(texts)), len(texts))
    assert [found[index] for index in order] == tiny.annotate([texts[index] for index in order])
    for annotation in found:
        entities = annotation["entities"]
        assert list(entities) == [str(n) for n in range(1, len(entities) + 1)]
        for entity in entities.values():
            words = annotation["text"].split()[entity["start_ix"] : entity["end_ix"] + 1]
            assert entity["tokens"] == " ".join(words)
            assert all(target in entities for _, target in entity["relations"])


def test_white_space_alone_has_no_entity(tiny: RadGraph) -> None:
    """The package fails there; the empty report it reads as the word None, which is in the golden texts."""
    assert tiny.annotate([" ", "\n\t\u2003"]) == [EMPTY, EMPTY]
    assert tiny.annotate([]) == []


def test_relations_in_blocks(tiny: RadGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "small left effusion , no mass / opacity . " * 70  # over 512 pieces too
    whole = tiny.annotate([text])
    assert sum(len(entity["relations"]) for entity in whole[0]["entities"].values()) > 1000
    monkeypatch.setattr(network, "PAIRS_AT_ONCE", 1000)
    assert tiny.annotate([text]) == whole


def test_tensors_are_matched_strictly(copy: Path) -> None:
    path = copy / "weights.th"
    good = torch.load(path, weights_only=True)
    prefix = "_embedder.token_embedder_bert._matched_embedder.transformer_model.embeddings"
    torch.save({**good, f"{prefix}.position_ids": torch.arange(512)[None]}, path)
    RadGraph.load(copy, ENCODER)  # a buffer of older transformers
    for name, change, message in (
        ("_ner._ner_scorers.radgraph__ner_labels.1._module.bias", None, "missing"),
        ("_coref._f_network._linear_layers.0.weight", None, "missing"),
        (f"{prefix}.word_embeddings.weight", torch.zeros(113, 32), "of the wrong shape"),
        ("_events._distance_embedding.weight", torch.zeros(10, 9), "of the wrong shape"),
        ("_relation._mention_pruners.other__relation_labels._scorer.1._module.bias", torch.zeros(1), "unknown"),
    ):
        wrong = {**good, name: change}
        torch.save({key: value for key, value in wrong.items() if value is not None}, path)
        with pytest.raises(UserError, match=rf"1 {message}: {name}"):
            RadGraph.load(copy, ENCODER)


@pytest.mark.parametrize(
    "name",
    [
        "dataset_reader.max_span_width",
        "model.max_span_width",
        "model.feature_size",
        "model.feedforward_params.num_layers",
        "model.feedforward_params.hidden_dims",
        "model.modules.relation.spans_per_word",
        "model.embedder.token_embedders.bert.max_length",
        "model.embedder.token_embedders.bert.model_name",
    ],
)
def test_fields_of_config_json(copy: Path, name: str) -> None:
    fields = json.loads((copy / "config.json").read_text())
    *steps, last = name.split(".")
    inner = fields
    for step in steps:
        inner = inner[step]
    values = ["much", None] if last == "model_name" else ["much", -1, True, None]
    for value in values[last == "model_name" :]:
        inner[last] = value
        (copy / "config.json").write_text(json.dumps(fields))
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            encoder_name(copy) if last == "model_name" else RadGraph.load(copy, ENCODER)


def test_what_cannot_be_run_is_refused(copy: Path, tmp_path: Path) -> None:
    fields = json.loads((copy / "config.json").read_text())
    for part, key, value, message in (
        (fields["model"]["modules"]["coref"], "coref_prop", 1, "coref_prop"),
        (fields["dataset_reader"], "max_span_width", 7, "exceeds"),
        (fields["model"]["feedforward_params"], "hidden_dims", [16, 16, 16], "hidden_dims must be 2"),
    ):
        good, part[key] = part[key], value
        (copy / "config.json").write_text(json.dumps(fields))
        with pytest.raises(UserError, match=message):
            RadGraph.load(copy, ENCODER)
        part[key] = good
    for encoder, message in (("bert-base-uncased", "holds no config.json"), (tmp_path / "bare", "holds no vocabulary")):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(ENCODER / "config.json", tmp_path / "bare")
        with pytest.raises(UserError, match=message):
            RadGraph.load(ARCHIVE, encoder)
    with pytest.raises(UserError, match="does not fit its config"):
        RadGraph.load(ARCHIVE, ENCODERS["modernbert-tiny"])
    (copy / "vocabulary" / "radgraph__ner_labels.txt").write_text("ANAT-DP\n")
    with pytest.raises(UserError, match="must begin with an empty line"):
        RadGraph.load(copy, ENCODER)


def test_the_digest_follows_the_contents(copy: Path, tmp_path: Path) -> None:
    digest = archive_digest(copy, tmp_path / "cache")
    assert (
        RadGraph.load(copy, ENCODER).digest == RadGraph.load(copy, ENCODER, cache=tmp_path / "cache").digest == digest
    )
    for name in ("config.json", "vocabulary/radgraph__relation_labels.txt", "weights.th"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b"\n")
        assert archive_digest(copy, tmp_path / "cache") != digest
        (copy / name).write_bytes(content)
    (copy / "vocabulary" / ".lock").touch()  # which the package leaves behind
    assert archive_digest(copy, tmp_path / "cache") == digest


@pytest.mark.parametrize("layout", [".", "radgraph", "0.1.18/radgraph", "radgraph/0.1.18/radgraph"])
def test_an_archive_is_found(layout: str, tmp_path: Path) -> None:
    place = tmp_path / "weights" / layout
    shutil.copytree(ARCHIVE, place)
    assert find_archive(tmp_path / "weights", "radgraph", tmp_path / "cache").resolve() == place.resolve()
    assert encoder_name(place) == "REPLACE_WITH_BERT_TINY_DIR"
    (place / "weights.th").unlink()
    with pytest.raises(UserError, match=r"lacks weights\.th: put the archive radgraph "):
        find_archive(tmp_path / "weights", "radgraph", tmp_path / "cache")


def pack(source: Path, packed: Path, extra: str | None = None) -> None:
    with tarfile.open(packed, "w:gz") as tar:
        for path in sorted(source.rglob("*")):
            tar.add(path, path.relative_to(source), recursive=False)
        if extra is not None:
            tar.addfile(tarfile.TarInfo(extra), io.BytesIO())


def test_a_packed_archive_is_unpacked_once(tmp_path: Path) -> None:
    packed = tmp_path / "radgraph.tar.gz"
    pack(ARCHIVE, packed)
    found = find_archive(tmp_path, "radgraph", tmp_path / "cache")
    assert archive_digest(found, tmp_path / "cache") == archive_digest(ARCHIVE, tmp_path / "cache")
    (found / "mark").touch()
    assert find_archive(tmp_path, "radgraph", tmp_path / "cache") == found
    assert (found / "mark").is_file()


def test_bad_packed_archives_are_refused(copy: Path, tmp_path: Path) -> None:
    folder, cache = tmp_path / "weights", tmp_path / "cache"
    folder.mkdir()
    packed = folder / "radgraph.tar.gz"
    pack(copy, packed, extra="../outside")
    with pytest.raises(UserError, match="cannot be unpacked"):
        find_archive(folder, "radgraph", cache)
    assert not (cache / "radgraph" / "outside").exists()
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot be unpacked"):
        find_archive(folder, "radgraph", cache)
    packed.write_bytes(b"<html>")
    with pytest.raises(UserError, match="cannot be unpacked"):
        find_archive(folder, "radgraph", cache)
    (copy / "config.json").unlink()
    pack(copy, packed)
    with pytest.raises(UserError, match=r"lacks config\.json: it is not the archive radgraph"):
        find_archive(folder, "radgraph", cache)
    with pytest.raises(UserError, match="unknown RadGraph model 'radgraf': did you mean 'radgraph'"):
        find_archive(folder, "radgraf", cache)
