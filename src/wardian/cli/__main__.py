"""`python -m wardian.cli`, the same as `wardian`."""

from . import main

main()
