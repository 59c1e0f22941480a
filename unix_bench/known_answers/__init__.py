"""Do a user's weights answer what only the right weights answer? The questions lie in `known_answers.toml`.

A question about a file says whether it is the published one, byte for byte. A question about behaviour says whether
weights and our reading of them do what the model was trained to do; it was chosen without the real weights at hand.
So where every file is the published one and a behaviour is wrong, the question or our code is at fault: report it.
"""

from unix_bench.known_answers.answer import Answer
from unix_bench.known_answers.biovil_t import ask_biovil_t
from unix_bench.known_answers.external import ask_model
from unix_bench.known_answers.rad_dino import ask_rad_dino
from unix_bench.known_answers.reports import ask_chexbert, ask_radgraph

__all__ = ["Answer", "ask_biovil_t", "ask_chexbert", "ask_model", "ask_rad_dino", "ask_radgraph"]
