"""Starts the process that delivers callbacks; the master does so, nobody else needs to."""

import sys

from postman.office import main

if __name__ == "__main__":
    sys.exit(main())
