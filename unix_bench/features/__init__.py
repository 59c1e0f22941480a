"""Encoders, labellers and graph extractors: images and texts to what metrics compare."""

from unix_bench.features.biovil_t import BioViLT, SpecialTokenInText
from unix_bench.features.chexbert import CheXbert, TextTooLong
from unix_bench.features.demodino import DemoDino
from unix_bench.features.encoder import Encoder
from unix_bench.features.medsiglip import MedSigLip
from unix_bench.features.memory import remembered
from unix_bench.features.rad_dino import RadDino
from unix_bench.features.rule14 import Rule14
from unix_bench.features.store import FeatureStore

__all__ = [
    "BioViLT",
    "CheXbert",
    "DemoDino",
    "Encoder",
    "FeatureStore",
    "MedSigLip",
    "RadDino",
    "Rule14",
    "SpecialTokenInText",
    "TextTooLong",
    "remembered",
]
