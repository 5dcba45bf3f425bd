"""The diffusion U-Net over windows of motion."""
