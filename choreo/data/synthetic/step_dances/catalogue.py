"""Every step dance by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.step_dances.cha_cha import CHA_CHA
from choreo.data.synthetic.step_dances.figures import StepDance
from choreo.data.synthetic.step_dances.jive import JIVE
from choreo.data.synthetic.step_dances.rumba import RUMBA
from choreo.data.synthetic.step_dances.salsa import SALSA
from choreo.data.synthetic.step_dances.samba import SAMBA
from choreo.data.synthetic.step_dances.tango import TANGO
from choreo.data.synthetic.step_dances.viennese_waltz import VIENNESE_WALTZ
from choreo.data.synthetic.step_dances.waltz import WALTZ

STEP_DANCES: Final[Mapping[str, StepDance]] = MappingProxyType(
    {
        "cha_cha": CHA_CHA,
        "jive": JIVE,
        "rumba": RUMBA,
        "salsa": SALSA,
        "samba": SAMBA,
        "tango": TANGO,
        "viennese_waltz": VIENNESE_WALTZ,
        "waltz": WALTZ,
    }
)
"""Every dance by name."""
