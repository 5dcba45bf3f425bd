"""A compiled engine for the denoiser on the CPU, built at export for the machine at hand."""
