"""The program of a child, ``python -m pirate.worker``."""

from pirate.worker.worker import main

if __name__ == "__main__":
    main()
