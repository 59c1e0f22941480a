"""Released weights: fetched from the Hugging Face hub by name, and held against `weights.lock` ever after.

For machines that have internet, such as a cluster's login node; nothing else in the house goes to the network. What a
card names is downloaded by huggingface_hub, at the card's revision, into the card's folder below the weights folder;
each part of the card, from a repository of its own, into a folder below that. `weights.lock` beside those folders keeps
the commit and the sha256 of each file, so that the same lock on another machine brings the same bytes.

sources.py and judges.toml say what there is to fetch, hub.py speaks with the hub, lock.py keeps what came, walk.py
is the walk through them.
"""

from unix_bench.fetch.hub import refuse_offline
from unix_bench.fetch.sources import judges, pieces, released
from unix_bench.fetch.walk import Standing, fetch, standing

__all__ = ["Standing", "fetch", "judges", "pieces", "refuse_offline", "released", "standing"]
