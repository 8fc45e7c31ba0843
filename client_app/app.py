"""What a site answers to the coordinator's messages."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Error, Message
from flwr.clientapp import ClientApp
from torch import nn

from client_app.introduce import introduction
from client_app.member import Member, own_settings
from client_app.patience import Patience
from client_app.sparsely import Sparsely
from client_app.states import forget
from fedmend import logs, plugins, sums, training, wire
from fedmend import phase as phases
from fedmend.arms import ARMS
from fedmend.errors import UserError, disk_full
from fedmend.logs import Subject
from fedmend.phase import Use
from fedmend.settings import Settings
from fedmend.site import MissingImputerError
from fedmend.strategies.base import Strategy
from fedmend.wire import Task, Trouble

app = ClientApp()
log = logging.getLogger("fedmend.site")

Handler = Callable[[Message, Context], Message]


def _answering(handler: Handler) -> Handler:
    """Turn an exception into an error reply without names, paths or data in it.

    Flower itself would send the whole traceback, message included.
    """

    @wraps(handler)
    def answer(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except MissingImputerError:
            return _error(Trouble.NEEDS_IMPUTER, "this site has not got the imputer", message)
        except UserError as error:
            return _error(Trouble.FAILED, str(error), message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not travel as it is
            if disk_full(error):
                return _error(Trouble.FAILED, "this site's disk is full", message)
            frames = traceback.extract_tb(error.__traceback__)
            way = " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
            return _error(
                Trouble.FAILED, f"internal error {type(error).__name__} in {way}", message
            )

    return answer


def _error(code: Trouble, reason: str, message: Message) -> Message:
    log.warning("cannot answer: %s", reason)
    return Message(Error(int(code), reason), reply_to=message)


def _settings(context: Context) -> Settings:
    logs.begin()
    settings = own_settings(context.node_config, Settings.read(context.run_config))
    torch.set_num_threads(settings.threads)
    return settings


@app.query()
@_answering
def query(message: Message, context: Context) -> Message:
    """Say who this site is."""
    settings = _settings(context)
    member = Member.of(context.node_config, context.node_id, settings)
    run = str(message.content.config_records[wire.CONFIG]["run"])
    logs.concern(Subject(run, site=member.name))
    forget(member.folder, keep=run)
    site = member.site(settings, settings.class_list, run, joining=True, progress=Sparsely(log))
    answer = introduction(site)
    member.check_policy(int(answer.sums["train"][0]))
    if answer.sums["unknown"].any():
        log.warning(
            "the detector %s cannot tell what is clean here: but for what the site says itself, "
            "nothing is held to be noisy or clean (20 images in a column `noisy` will do)",
            settings.detector,
        )
    return Message(answer.record(), reply_to=message)


class Round:
    """One message's work: the task, the model as the site starts it, and the site itself."""

    def __init__(self, message: Message, context: Context) -> None:
        content = message.content
        self.settings = _settings(context)
        self.task = Task.read(content.config_records[wire.CONFIG])
        self.phase = phases.load(self.task.phase)
        self.strategy = strategy_of(self.settings, self.task)
        self.codec = plugins.CODECS.build(self.settings.codec)
        member = Member.of(context.node_config, context.node_id, self.settings)
        task = self.task
        logs.concern(Subject(task.run, task.phase, task.arm, task.round, member.name))
        self.patience = Patience(self.settings.deadline)
        self.site = member.site(
            self.settings, self.task.classes, self.task.run, progress=Sparsely(log)
        )
        self.store = member.store(self.task)
        self.store.promote(self.task.best)
        self.memory = (
            self.store.read_best(self.task.best)
            if self.task.final or self.task.comparing
            else self.store.read(self.task.round)
        )
        self.model = self._model(content.array_records[wire.ARRAYS])

    def _model(self, record: ArrayRecord) -> nn.Module:
        model = training.build(self.phase, self.settings, self.task)
        self.strategy.begin(model, wire.unpack(record, self.codec), self.memory)
        return training.placed(model, self.settings)

    def validated(self) -> sums.Sums:
        """Return the validation sums of the model as it came in."""
        batches = self.phase.validation(self.site, self.settings, self.task)
        self.model.eval()
        with torch.inference_mode():
            return sums.prefixed("val", self.phase.evaluate(self.model, batches, self.task))

    def tested(self) -> sums.Sums:
        """Return the sums over the phase's test sets."""
        tests = self.phase.tests(self.site, self.settings, self.task)
        self.model.eval()
        with torch.inference_mode():
            parts = [
                sums.prefixed(name, self.phase.evaluate(self.model, batches, self.task))
                for name, batches in tests.items()
            ]
        return sums.merge(parts)

    def used(self, purpose: str, use: Use | None) -> sums.Sums:
        """Do what a phase does with the model that is kept, if anything; prefix what it says."""
        if use is None:
            return {}
        self.model.eval()
        with torch.inference_mode():
            return sums.prefixed(purpose, use(self.model, self.site, self.settings, self.task))

    def answer(
        self, arrays: dict[str, torch.Tensor], examples: int, said: sums.Sums, message: Message
    ) -> Message:
        """Return the reply, after its check."""
        shared = self.strategy.shared(self.model)
        permitted = {k: v.shape for k, v in self.model.state_dict().items() if k in shared}
        content = wire.outgoing(arrays, permitted, examples, said, self.codec)
        return Message(content, reply_to=message)


def strategy_of(settings: Settings, task: Task) -> Strategy:
    """Return the arm's own strategy, or the run's."""
    own = ARMS[task.arm].strategy if task.arm else ""
    return plugins.STRATEGIES.build(own or settings.strategy)


@app.train()
@_answering
def train(message: Message, context: Context) -> Message:
    """Validate the model received, train it for a round, and send it back."""
    work = Round(message, context)
    said = dict(work.validated())
    done = training.train(
        work.model,
        work.phase,
        work.site,
        work.settings,
        work.task,
        work.strategy,
        work.patience.check,
    )
    log.info("trained %d steps", done.steps, extra={"steps": done.steps})
    said |= sums.prefixed("train", done.sums)
    arrays = work.strategy.reply(work.model, done.steps, work.memory)
    work.store.write(work.task.round, work.memory)
    examples = work.phase.size(work.site, work.settings, work.task) if done.steps else 0
    return work.answer(arrays, examples, said, message)


@app.evaluate()
@_answering
def evaluate(message: Message, context: Context) -> Message:
    """Validate the model received; if it is the one that is kept, test it and put it to use."""
    work = Round(message, context)
    said: dict[str, Any] = {}
    if work.task.final:
        said |= work.tested()
        said |= work.used("finish", work.phase.finish)
    elif work.task.comparing:
        said |= work.used("compare", work.phase.compare)
    else:
        said |= work.validated()
    return work.answer({}, 0, said, message)
