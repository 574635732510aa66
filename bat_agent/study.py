"""``python -m bat_agent.study STUDY``: the command is :mod:`bat_agent.cli.study`."""

from bat_agent.cli.entry import run_app
from bat_agent.cli.study import app

if __name__ == "__main__":
    run_app(app, "python -m bat_agent.study")
