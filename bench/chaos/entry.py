"""A part of the service whose clock can be set apart: `python -m bench.chaos.entry CLOCK api`."""

import sys
from pathlib import Path

from bench.chaos.clocks import set_by
from cli.main import main

if __name__ == "__main__":
    set_by(Path(sys.argv[1]), sys.argv[2])
    main(sys.argv[2:], prog_name="aiml")
