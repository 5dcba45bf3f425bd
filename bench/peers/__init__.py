"""The servers that `bench.serving` compares, each a process of its own with the same HTTP interface.

`python -m bench.peers MODULE PORT [ARGUMENT]` runs one on a loopback port until SIGINT or SIGTERM. They accept only
`POST /v1/generate` with the fields of `serving.pipeline.fields.GenerateFields` as JSON, and answer with NPZ. All use
this program's checkpoint, text encoder, noise, sampler steps and finisher, so that they differ only in how requests get
through the denoiser.
"""
