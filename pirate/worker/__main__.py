"""The child's program: ``python -m pirate.worker``."""

from pirate.worker.worker import main

if __name__ == "__main__":
    main()
