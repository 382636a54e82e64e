"""A step's turn: between claim and handler it is found out what it is to be given, and whether it runs at all."""

from __future__ import annotations

import logging

from flux.domain.errors import FluxError
from flux.domain.job import ErrorKind
from flux.engine import ending as endings
from flux.engine.attempt import Attempt
from flux.engine.steps import StepRefused, Steps

logger = logging.getLogger("flux.worker")


async def take_turn(steps: Steps, attempt: Attempt) -> bool:
    """Give the attempt its payload; False when it has ended here, without its handler."""
    job = attempt.job
    try:
        payload = await steps.resolve(job)
    except StepRefused as error:
        ending = endings.failed(ErrorKind.EXPRESSION, str(error))
    except FluxError as error:
        logger.warning("job %s: its step could not be looked up (%s); it is handed back", job.id, error)
        ending = endings.RELEASED
    except Exception as error:
        # An attempt without an end would hold its slot for ever.
        logger.exception("job %s: its step could not be resolved", job.id)
        ending = endings.of_exception(error)
    else:
        if attempt.stop_reason is not None:
            ending = endings.RELEASED
        elif payload is None:
            ending = endings.SKIPPED
        else:
            job.payload = payload
            return True
    attempt.settle(ending)
    return False
