"""The child process behind `choreo.music.isolated`: limits itself, then decodes its standard input.

Answers on standard output with one line of JSON, `{"seconds": s}` or `{"error": message}`, and after the former with
the raw float32 samples.
"""

import json
import resource
import sys


def limit_process(memory_bytes: int, cpu_seconds: int, output_bytes: int) -> None:
    """Set hard limits, which this process cannot raise again, before it reads untrusted bytes."""
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        # The signal of the soft limit tells the parent that time ran out; SIGKILL at the hard limit would not.
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, output_bytes, output_bytes),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, inherited = resource.getrlimit(what)
        if inherited != resource.RLIM_INFINITY:
            soft, hard = min(soft, inherited), min(hard, inherited)
        resource.setrlimit(what, (soft, hard))


def main(options: dict[str, float]) -> None:
    """Decode standard input within the limits that the parent chose."""
    limit_process(int(options["memory_bytes"]), int(options["cpu_seconds"]), int(options["output_bytes"]))

    from choreo.errors import InvalidInput
    from choreo.music.audio import decode_audio

    out = sys.stdout.buffer
    try:
        audio = decode_audio(
            sys.stdin.buffer.read(), max_seconds=options["max_seconds"], sample_rate=int(options["sample_rate"])
        )
    except InvalidInput as error:
        out.write(json.dumps({"error": error.message}).encode() + b"\n")
    except MemoryError:
        out.write(json.dumps({"error": "decoding the audio needs too much memory"}).encode() + b"\n")
    else:
        out.write(json.dumps({"seconds": audio.seconds}).encode() + b"\n")
        out.write(audio.samples.data)
    out.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
