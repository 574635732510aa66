"""``python -m bat_agent.evaluate MODEL RECIPE``: the command is :mod:`bat_agent.cli.evaluate_agent`."""

from bat_agent.cli.entry import run_app
from bat_agent.cli.evaluate_agent import app

if __name__ == "__main__":
    run_app(app, "python -m bat_agent.evaluate")
