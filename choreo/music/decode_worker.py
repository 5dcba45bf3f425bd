"""The child process behind `choreo.music.isolated`: limits itself, then decodes its standard input.

Answers on standard output with one line of JSON, `{"seconds": s, "notes": [...]}` or `{"error": message}`, and after
the former with the raw samples: float32 of mono, 16-bit integers of a soundtrack.
"""

import json
import sys
from typing import Any


def main(options: dict[str, Any]) -> None:
    """Decode standard input within the limits that the parent chose."""
    from choreo.music.process_limits import limit_process

    limit_process(int(options["memory_bytes"]), int(options["cpu_seconds"]), int(options["output_bytes"]))

    from choreo.errors import InvalidInput

    out = sys.stdout.buffer
    try:
        header, samples = _decoded(sys.stdin.buffer.read(), options)
    except InvalidInput as error:
        out.write(json.dumps({"error": error.message}).encode() + b"\n")
    except MemoryError:
        out.write(json.dumps({"error": "decoding the audio needs too much memory"}).encode() + b"\n")
    else:
        out.write(json.dumps(header).encode() + b"\n")
        out.write(samples)
    out.flush()


def _decoded(data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    if options["soundtrack"]:
        from choreo.music.soundtrack import decode_soundtrack

        sound = decode_soundtrack(data, options["max_seconds"])
        return {"seconds": sound.seconds, "notes": []}, sound.samples.data
    from choreo.music.audio import decode_audio

    limits = {name: options[name] for name in ("max_seconds", "sample_rate")}
    audio = decode_audio(data, **limits, mix="heard")
    return {"seconds": audio.seconds, "notes": audio.notes}, audio.samples.data


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
