"""RadEdit (Pérez-García et al., ECCV 2024, arXiv 2312.12865): draws a chest X-ray from an impression.

    prompt --BioViL-T's BERT--> [tokens, width] --+
    noise  [4, H/8, W/8] --------------------------+--> UNet, DDIM --> latent --SDXL's VAE--> pixels

Three releases make one model, each in a folder of its own below the weights' folder:

    unet/           microsoft/radedit, the folder of that name
    vae/            stabilityai/sdxl-vae
    text_encoder/   microsoft/BiomedVLP-BioViL-T, its text model; read without the code that lies beside it
"""
