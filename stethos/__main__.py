"""`python -m stethos`, also as started by torchrun."""

from stethos.cli import main

if __name__ == "__main__":
    main()
