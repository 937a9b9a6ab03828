import sys
from pathlib import Path

# The loss of an episode is tested on the tasks that the models' tests use.
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
