"""BioViL-T (Bannur et al., CVPR 2023, arXiv 2301.04558): images and texts in one space, for the alignment score.

resnet.py is the backbone, image.py and text.py are the two towers with what each does to its input, model.py puts them
together. Written against the files that hi-ml-multimodal 0.2.2 reads, to give what that package gives.
"""

from unix_bench.features.biovil_t.image import ImageShape
from unix_bench.features.biovil_t.model import BioViLT
from unix_bench.features.biovil_t.text import SpecialTokenInText, load_tokenizer

__all__ = ["BioViLT", "ImageShape", "SpecialTokenInText", "load_tokenizer"]
