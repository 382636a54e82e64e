"""`python -m flux` is `flux`."""

from flux.cli.main import run

if __name__ == "__main__":
    run()
