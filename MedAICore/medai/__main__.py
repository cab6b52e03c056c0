"""``python -m medai``: the command line."""

from medai.cli import main

if __name__ == "__main__":
    main()
