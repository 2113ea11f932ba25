import subprocess
import sys

SCRIPT = """
import sys
import goodspeed.commands.drafter, goodspeed.commands.verifier
from goodspeed.engine.targets import target_engine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.interface import Prefill, StreamSpec
from goodspeed.decoding.sampling import Sampling
engine = target_engine("toy", TargetConfig())
engine.open(1, StreamSpec((1, 2), Sampling(), 10))
engine.step([Prefill(1, 2)])
assert "llguidance" not in sys.modules
"""


def test_llguidance_is_not_imported_before_a_constraint_is_compiled() -> None:
    """It takes 20 ms and 7 MB, and an edge device may not have it."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
