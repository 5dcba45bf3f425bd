"""Classifier-free guidance (Ho & Salimans 2022) as weights of the rows of a step, with one scale or with two.

With one scale w, the predictions c of the conditional and u of the unconditional row give u + w (c - u). With a scale
for the text and one for the music, a third row, which has the text only, stands between them:

    u + w_text (c_text - u) + w_music (c - c_text)

which is the first formula where both are equal (the order of conditions as in Brooks et al. 2023, equation 3).
"""

CONDITIONAL, UNCONDITIONAL, TEXT_ONLY = range(3)
"""Kinds of rows, in the order of their weights."""


def row_weights(scale: float, text: float | None = None, music: float | None = None) -> tuple[float, ...]:
    """What the predictions of a window's rows are multiplied by; their sum is the guided prediction.

    Args:
        scale: w, and the scale of text or of music where only the other one is given.
        text: w_text.
        music: w_music.

    Returns:
        Weights of the conditional, the unconditional and, with `text` or `music`, the text-only row; their sum is 1.
        The conditional row's alone where the others have no weight and would be evaluated for nothing.
    """
    w_text, w_music = separate_scales(scale, text, music) or (scale, scale)
    weights: tuple[float, ...] = (w_music, 1 - w_text)
    if text is not None or music is not None:
        weights = (*weights, w_text - w_music)
    return weights if weights[CONDITIONAL] != 1 or any(weights[1:]) else weights[:1]


def separate_scales(scale: float, text: float | None, music: float | None) -> tuple[float, float] | None:
    """The scales of text and music, of which one may be left to `scale`; None where neither is given."""
    if text is None and music is None:
        return None
    return scale if text is None else text, scale if music is None else music
