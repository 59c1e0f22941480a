"""Cards: tasks and models as TOML data. Bundled ones come with the package; users add their own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unix_bench.errors import UserError
from unix_bench.settings import USER_FOLDER

Value = bool | int | float | str | list[float]
USER_FOLDERS = (Path("unix-bench"), USER_FOLDER)


class Card(BaseModel):
    """What every card has; its file is named for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    title: str


ReferenceText = Literal[
    "mimic_findings",
    "mimic_impression",
    "mimic_findings_impression",
    "unix_json",
    "llava_rad_rule",
    "findings",
    "impression",
    "findings_impression",
]


class Expected(BaseModel):
    """How many images, and how many of them with a reference text, a publication says there are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    images: int | None = None
    pairs: int | None = None
    stated_by: str


class SetCard(BaseModel):
    """One exact test set of a task.

    Attributes:
        reader: Which layout it is read from.
        source: Which file names its rows and texts: the official index, or a protocol's annotations.
        split: Of the official index; None: whatever the source names.
        views: Admitted view positions; empty: all.
        reference: The text that is the reference, or the prompt.
        labels: Which of the official label files.
        expected: A published count to compare with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reader: Literal["mimic_cxr", "iu_xray"]
    source: Literal["official", "llava_rad", "chexgenbench", "unix_json"] = "official"
    split: str | None = None
    views: list[str] = []
    reference: ReferenceText
    labels: Literal["chexpert", "negbio", "test_set_labeled"] = "chexpert"
    expected: Expected | None = None


class TaskCard(Card):
    """A task: what goes in, what comes out, and under which protocols it is scored.

    Attributes:
        kind: The code that runs it.
        version: Counts changes that make older numbers incomparable.
        protocols: Name -> version of each way of scoring it; the first is the default.
        instruction: Question put to a model about an image, unless the data brings its own.
        batch_size: Samples a batch unless the user says otherwise.
        sets: Name -> exact test set; part of the task's version, as its reference text is of every signature.
    """

    aliases: list[str] = []
    kind: Literal["report", "generation", "probe"]
    version: int = Field(ge=1)
    protocols: dict[str, int] = Field(min_length=1)
    instruction: str | None = None
    batch_size: int = Field(ge=1)
    sets: dict[str, SetCard] = {}


class ExternalMetricCard(Card):
    """A metric that a command computes, one number a report.

    Attributes:
        command: Reads `{"id", "prediction", "reference"}` a line and prints `{"id", "score"}` a line.
        version: Changes whenever its numbers would.
    """

    command: list[str] = Field(min_length=1)
    better: Literal["higher", "lower"]
    version: str


class Released(Card):
    """Something whose weights were released: where they come from, and where they lie.

    Attributes:
        weights: Its folder below the weights folder.
        hub_id: Its repository on the Hugging Face hub; empty: it is not there.
        revision: Branch, tag or commit of that repository; for a branch, `weights.lock` keeps the commit it stood at.
        files: Patterns of the files that are needed, `*` stands for `/` too; empty: see `fetch/hub.py`.
        gate: What must be accepted or shown before the files can be had; empty: nothing.
        verified: Field of this card, or "weights" -> where it comes from, or that it could not be checked, in one
            sentence; fields that are certain are not in it.
    """

    weights: str = ""
    hub_id: str = ""
    revision: str = Field(default="main", min_length=1)
    files: list[str] = []
    licence: str = ""
    gate: str = ""
    verified: dict[str, str] = {}


class Part(BaseModel):
    """Another repository that a model needs; fields as `Released` has them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub_id: str
    revision: str = Field(default="main", min_length=1)
    files: list[str] = []
    licence: str = ""
    gate: str = ""


class ModelCard(Released):
    """A model: who makes it, where its weights lie, and the settings it is run with.

    Attributes:
        family: The code that runs it, as registered.
        architecture: Class of diffusers or transformers that it is, where the family runs several.
        command: What starts a model that lives in an environment of its own.
        parts: Folder below that of the weights -> another repository whose files go there, such as a LoRA's base.
        dtype: Precision on a GPU where a run states none; on a CPU it is float32.
        gpu_batch_size: Task -> samples of a batch on a GPU where a run states none; else it is the task card's.
        parameters: How many, as published and as counted where these differ.
        trained_on: Data it was trained on, as far as its makers say.
        published: What published tables call it.
        settings: Kind of task -> the sampler's or decoder's settings; `--set` may change those named here.
        metric_overlap: Encoder, as metric names end -> why its numbers may favour the model, one sentence.
    """

    family: str
    architecture: str = ""
    command: list[str] = []
    tasks: list[str] = Field(min_length=1)
    parts: dict[str, Part] = {}
    dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    gpu_batch_size: dict[str, int] = {}
    parameters: str = ""
    trained_on: str = ""
    citation: str = ""
    published: str = ""
    metric_overlap: dict[str, str] = {}
    settings: dict[str, dict[str, Value]] = {}


AnyCard = TypeVar("AnyCard", bound=Card)


def bundled(name: str) -> Path:
    """A folder that ships with the project (`tasks`, `baselines`, ...), in a wheel or in a checkout."""
    package = Path(__file__).parent
    in_wheel = package / "_bundled" / name
    return in_wheel if in_wheel.is_dir() else package.parent / name


def read_cards(folder: str, kind: type[AnyCard]) -> dict[str, AnyCard]:
    """All cards of a kind by name: the bundled ones, then the user's, which may not reuse a bundled name.

    Raises:
        UserError: A card is malformed or shadows a bundled one; names the file.
    """
    cards = {path.stem: _read_card(path, kind) for path in sorted(bundled(folder).glob("*.toml"))}
    for place in USER_FOLDERS:
        for path in sorted((place.expanduser() / folder).glob("*.toml")):
            if path.stem in cards:
                raise UserError(f"{path}: a card named '{path.stem}' exists already: give yours another name")
            cards[path.stem] = _read_card(path, kind)
    return cards


def _read_card(path: Path, kind: type[AnyCard]) -> AnyCard:
    try:
        card = kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if card.name != path.stem:
        raise UserError(f"{path}: the card calls itself '{card.name}': name the file {card.name}.toml")
    return card
