"""LLaVA-Rad (Zambrano Chaves et al., Nature Communications 2025, arXiv 2403.08002): writes findings of a chest X-ray.

    pixels --DINOv2's tower--> [patches, 768] --projector--> [patches, 4096] --+
    prompt --embedding-------------------------------------------------------- +--> Vicuna --> next word

The release holds three parts and no language model; its base lies in a folder of its own below them:

    adapter_config.json, adapter_model.bin                     LoRA over Vicuna's linear layers, merged when loaded
    non_lora_trainables.bin                                    the projector
    biomedclipcxr_518.json, biomedclipcxr_518_checkpoint.pt    the tower, inside a whole CLIP
    config.json                                                how the parts are joined
    vicuna-7b-v1.5/                                            lmsys/vicuna-7b-v1.5

Written from facts about these files; no line of the authors' code is in it, nor is it needed.
"""
