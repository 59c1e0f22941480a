"""Text-to-image pipelines of diffusers, from a folder in their own layout, a LoRA on top where a card names one.

    prompt --text encoders--> embeddings --+
    noise of the sample's own seed --------+--> transformer or UNet, the scheduler's steps --> latent --VAE--> pixels

The walk is the library's; which pipeline it is, every argument it is called with and what its files must hold are
decided here, so that nothing is left to a default that changes with a version or with an installed package.
"""
