"""The command line: the headless twin of the dashboard. `python -m curation COMMAND --help`.

Every command but `dashboard` takes `--json`: one object on stdout, everything else on stderr. Exit status: 0 done,
1 failed, 2 usage.
"""

from __future__ import annotations

import json
import logging
import sys

from curation.cli import (
    answers,
    backtest,
    batches,
    bench,
    dashboard,
    designs,
    model,
    policy,
    pools,
    rate,
    settle,
    synthetic,
)
from curation.cli.interrupted import kept_after
from curation.cli.output import say
from curation.cli.writes import Commands
from curation.errors import CurationError
from curation.system.bug_log import errors_log, sentence
from curation.system.files import out_of_memory

INTERRUPTED = 130  # what typer makes of an interrupt at the keyboard
app = Commands(
    name="curation",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which LLM response pairs deserve a human preference label.",
)


experiment = Commands(no_args_is_help=True, help="Synthetic and policy experiments.")
app.add_typer(experiment, name="experiment")
pools.register(app)
model.register(app)
designs.register(app)
bench.register(app)
batches.register(app)
settle.register(app)
rate.register(app)
backtest.register(app)
dashboard.register(app)
synthetic.register(experiment)
policy.register(experiment)
answers.register(experiment)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; every failure becomes words. Returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    try:
        status = app(args=given, standalone_mode=False)
    except CurationError as error:
        return _fail(str(error), given)
    except MemoryError:
        return _fail(out_of_memory(), given)
    except OSError as error:
        return _fail(f"{type(error).__name__}: {error}", given)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:  # the boundary: a bug is logged whole and told in one sentence
        return _usage_or_bug(error, given)
    if status == INTERRUPTED:
        return _fail(f"stopped; {kept_after(given)}.", given)
    return status if isinstance(status, int) else 0


def _usage_or_bug(error: Exception, given: list[str]) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
        error.show(file=sys.stderr)
        return int(error.exit_code)
    sentence(error, doing=f"command {given}")
    return _fail(f"unexpected {type(error).__name__}: {error}; the details are in {errors_log()}.", given)


def _fail(message: str, given: list[str]) -> int:
    say(f"error: {message}")
    if "--json" in given:
        print(json.dumps({"error": message}, ensure_ascii=False))
    return 1
