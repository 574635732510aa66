"""``python -m bat_agent.train RECIPE [key=value …]``: the command is :mod:`bat_agent.cli.train`."""

from bat_agent.cli.entry import run_app
from bat_agent.cli.train import app

if __name__ == "__main__":
    run_app(app, "python -m bat_agent.train")
