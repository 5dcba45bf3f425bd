"""Latent diffusion: a motion VAE whose latent tokens are what is denoised."""
