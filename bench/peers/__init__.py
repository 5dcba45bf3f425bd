"""The servers that `bench.serving` measures beside each other, each a process of its own behind the same HTTP contract.

`python -m bench.peers MODULE PORT [ARGUMENT]` runs one on a loopback port until SIGINT or SIGTERM. They answer
`POST /v1/generate` with the fields of `serving.pipeline.request.GenerateFields`, as JSON, by the positions as NPZ,
and nothing else. All use the checkpoint, text encoder, noise, sampler steps and finisher of this program, so that what
differs is
how requests get through the denoiser.
"""
