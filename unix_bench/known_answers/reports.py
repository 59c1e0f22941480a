"""CheXbert on plain sentences of ours, RadGraph on its published example."""

from __future__ import annotations

from typing import Any

from unix_bench.known_answers.answer import Answer, known
from unix_bench.protocols.report import find_annotator, find_labeller
from unix_bench.scoring.report import FINDING_KEYS
from unix_bench.settings import Settings

LABELS = ("blank", "positive", "negative", "uncertain")
# RadGraph's releases name their labels in two ways.
SHORT = {
    "Anatomy": "ANAT",
    "Observation": "OBS",
    "definitely present": "DP",
    "definitely absent": "DA",
    "uncertain": "U",
}


def ask_chexbert(settings: Settings) -> list[Answer]:
    """Label each known sentence.

    Raises:
        UserError: The weights are not there, or are another model's.
    """
    questions = known()["chexbert"]
    labels = find_labeller(settings).label([question["text"] for question in questions])
    answers = []
    for question, row in zip(questions, labels, strict=True):
        given = {finding: LABELS[row[FINDING_KEYS.index(finding)]] for finding in question["labels"]}
        answers.append(Answer.same(question["text"], _listed(question["labels"]), _listed(given)))
    return answers


def ask_radgraph(settings: Settings) -> list[Answer]:
    """Annotate the published example of the model that the settings name.

    Raises:
        UserError: The archive is not there, or is another model's.
    """
    model = settings.radgraph_model
    load, _ = find_annotator(settings, model)
    questions = [question for question in known()["radgraph"] if question["model"] == model]
    graphs = load().annotate([question["text"] for question in questions])
    return [
        Answer.same(question["text"], "; ".join(question["entities"]), "; ".join(_entities(graph)))
        for question, graph in zip(questions, graphs, strict=True)
    ]


def _listed(labels: dict[str, str]) -> str:
    return ", ".join(f"{finding} {label}" for finding, label in labels.items())


def _entities(graph: dict[str, Any]) -> list[str]:
    """`words LABEL [relation words]` of each entity, labels in their short form."""
    entities = graph["entities"]
    lines = []
    for entity in entities.values():
        label = "-".join(SHORT.get(part, part) for part in entity["label"].split("::"))
        relations = "".join(f" [{kind} {entities[target]['tokens']}]" for kind, target in entity["relations"])
        lines.append(f"{entity['tokens']} {label}{relations}")
    return lines
