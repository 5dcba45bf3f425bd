"""The ffmpeg program that comes with the package imageio-ffmpeg."""

from choreo.errors import MissingDependency


def ffmpeg_program() -> str:
    """Path of the program; the environment variable IMAGEIO_FFMPEG_EXE names another one.

    Raises:
        MissingDependency: there is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingDependency("no ffmpeg program was found; reinstall the package imageio-ffmpeg") from error
