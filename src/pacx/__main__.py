"""``python -m pacx`` is ``pacx``, of the Python and the environment that the user names."""

from pacx.cli.main import main

if __name__ == "__main__":
    main()
