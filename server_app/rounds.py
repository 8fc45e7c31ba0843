"""The round loop: one for every phase, arm and strategy.

Flower's own ``start()`` can neither resume nor survive one odd reply, so the loop is here and
calls the strategy's ``configure`` and ``aggregate`` methods itself.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import cast

from flwr.app import ArrayRecord
from flwr.serverapp import Grid
from torch import Tensor

from fedmend import logs, plugins, sums, training, wire
from fedmend.arms import ARMS
from fedmend.errors import RunError
from fedmend.logs import Subject
from fedmend.models import digest
from fedmend.phase import Phase
from fedmend.settings import Settings
from fedmend.strategies.base import Strategy
from fedmend.wire import Task
from server_app.checkpoint import Checkpoint
from server_app.run_folder import RunFolder
from server_app.sites import Answers, Sites

log = logging.getLogger("fedmend.coordinator")


class Trainer:
    """One arm of one phase, from its checkpoint to its tested model."""

    def __init__(
        self, sites: Sites, phase: Phase, settings: Settings, run: RunFolder, start: Task
    ) -> None:
        self.sites = sites
        self.phase = phase
        self.settings = settings
        self.run = run
        self.task = start
        self.name = f"{start.phase}-{start.arm}" if start.arm else start.phase
        own = ARMS[start.arm].strategy if start.arm else ""
        self.strategy: Strategy = plugins.STRATEGIES.build(own or settings.strategy)
        self.flower = self.strategy.server()
        self.point = self._point()

    def _point(self) -> Checkpoint:
        """Return where an interrupted run was, or the beginning."""
        kept = self.run.checkpoint(self.name)
        if kept is not None:
            self.strategy.restore(kept.strategy)
            return kept
        model = training.initial(self.phase, self.settings, self.task)
        arrays = self.strategy.initial(model)
        return Checkpoint(arrays=arrays, best=arrays)

    def trained(self) -> Checkpoint:
        """Run the rounds that are left, then test the best model.

        Raises:
            RunError: too few sites, or an aggregate that is not finite.
        """
        while self.point.round < self.task.rounds and not self._settled():
            self._round(self.point.round + 1)
        self.task = self.task._replace(rounds=self.point.round)
        if not self.point.done:
            self._validate_last()
            self._validate_average()
            self._compare()
            self._test()
        if self.phase.finish is not None:
            self._remember()
        return self.point

    def _settled(self) -> bool:
        """Say whether the last models that were scored are no better than one before them."""
        patience, scores = self.phase.hyper(self.settings).patience, self.point.scores
        if not patience or not scores or any(map(math.isnan, scores)):
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _round(self, number: int) -> None:
        started = time.monotonic()
        task = self.task._replace(round=number, best=self.point.best_round)
        self.sites.sample(task)
        messages = self.flower.configure_train(
            number, self._packed(self.point.arrays), task.record(), cast("Grid", self.sites)
        )
        expected = {name: value.shape for name, value in self.point.arrays.items()}
        answers = self.sites.exchange(list(messages), task, expected)
        self._judge(answers)
        self._aggregate(number, answers)
        self.point.round = number
        self._note(answers, task, started)

    def _aggregate(self, number: int, answers: Answers) -> None:
        """Let the strategy make one model of the sites' models."""
        useful = [reply for reply in answers.replies if reply.examples > 0]
        if len(useful) < self.settings.min_sites:
            raise RunError(
                f"{len(useful)} sites have images to train {self.name} on, "
                f"fewer than min-sites={self.settings.min_sites}"
            )
        self.point.used = sorted({*self.point.used, *(reply.name for reply in useful)})
        arrays, _ = self.flower.aggregate_train(number, [reply.message for reply in useful])
        merged = {} if arrays is None else wire.unpack(arrays, plugins.CODECS.build("none()"))
        try:
            wire.check_arrays(merged, {k: v.shape for k, v in self.point.arrays.items()})
        except ValueError as error:
            raise RunError(
                f"round {number} of {self.name} gave no usable model: {error}"
            ) from error
        # Some strategies answer in double precision; what travels keeps its type.
        self.point.arrays = {
            name: value.to(self.point.arrays[name].dtype) for name, value in merged.items()
        }
        self.point.strategy = self.strategy.state()
        self._average()

    def _average(self) -> None:
        """Move the average of the rounds' models towards the present one (Polyak & Juditsky 1992).

        Whole numbers, which count something, are the present one's.
        """
        decay = self.phase.hyper(self.settings).ema
        if decay:
            before = self.point.average or self.point.arrays
            self.point.average = {
                name: before[name].lerp(value, 1 - decay) if value.is_floating_point() else value
                for name, value in self.point.arrays.items()
            }

    def _judge(self, answers: Answers) -> None:
        """Score the model that went out, by the validation sums that came back.

        Of the models within one standard error of the best, the last one is kept (Breiman et al.
        1984): it has learnt longest, and which of them scores best is the validation images' luck.
        Comparisons are such that of models without a score the newest is kept, too.
        """
        merged = sums.under("val", answers.merged())
        score = self.phase.score(merged)
        if not score <= self.point.top_score:
            self.point.top_score = score
            self.point.bar = score - self.phase.error(merged)
        if not score < self.point.bar:
            self.point.best = self.point.arrays
            self.point.best_score = score
            self.point.best_round = self.point.round
        if math.isnan(score) and not any(map(math.isnan, self.point.scores)):
            self._tell_unscored()
        self.point.scores.append(score)

    def _tell_unscored(self) -> None:
        log.warning(
            "nothing says how good a model of %s is: no site that answered has a validation image "
            "%s. While that is so the newest model is kept, patience and ema have no effect%s",
            self.name,
            "that is held to be clean" if self.phase.compare else "to score it by",
            ", and no filter is set beside the imputer" if self.phase.compare else "",
        )

    def _ask_all(self, task: Task, arrays: Mapping[str, Tensor]) -> Answers:
        self.sites.sample(task)
        messages = self.flower.configure_evaluate(
            task.round, self._packed(arrays), task.record(), cast("Grid", self.sites)
        )
        return self.sites.exchange(list(messages), task, {})

    def _validate_last(self) -> None:
        """Score the last round's model, which no round after it has scored."""
        started = time.monotonic()
        task = self.task._replace(round=self.task.rounds + 1, best=self.point.best_round)
        answers = self._ask_all(task, self.point.arrays)
        self._judge(answers)
        self._note(answers, task, started)

    def _validate_average(self) -> None:
        """Keep the average of the rounds' models where it validates better than each of them."""
        if not self.point.average:
            return
        started = time.monotonic()
        task = self.task._replace(round=self.task.rounds + 1, best=self.point.round)
        answers = self._ask_all(task, self.point.average)
        score = self.phase.score(sums.under("val", answers.merged()))
        log.info("the average of the rounds of %s: score %.4f", self.name, score)
        if score > self.point.top_score:
            self.point.best = self.point.average
            self.point.best_score = score
            self.point.best_round = self.point.round
        self._account(answers, started)

    def _compare(self) -> None:
        """Let the sites compare the model that is kept with what could do its work instead."""
        if self.phase.compare is None:
            return
        started = time.monotonic()
        task = self.task._replace(
            round=self.task.rounds + 1, best=self.point.best_round, comparing=True
        )
        answers = self._ask_all(task, self.point.best)
        self.point.compared = sums.under("compare", answers.merged())
        self._account(answers, started)
        self.run.keep_checkpoint(self.name, self.point)

    def _final(self) -> Task:
        task = self.task._replace(
            round=self.task.rounds + 1, best=self.point.best_round, final=True
        )
        if self.phase.decide is not None:
            task = task._replace(routes=self.phase.decide(self.point.compared, self.settings))
        if self.phase.finish is not None:
            task = task._replace(imputer=digest(self.point.best, self.settings.imputation.model))
        return task

    def _test(self) -> None:
        """Send out the model that is kept: sites test it and put it to use."""
        started = time.monotonic()
        task = self._final()
        answers = self._ask_all(task, self.point.best)
        self.point.imputer = task.imputer
        self.point.sites = {reply.name: dict(reply.sums) for reply in answers.replies}
        self.point.done = True
        self._note(answers, task, started)

    def _remember(self) -> None:
        """Keep the broadcast for sites that come late, also after a resume."""
        self.sites.remember(self.point.imputer, self._packed(self.point.best), self._final())

    def _packed(self, arrays: Mapping[str, Tensor]) -> ArrayRecord:
        return wire.pack(arrays, self.sites.codec)

    def _account(self, answers: Answers, started: float) -> float:
        """Add an exchange to the arm's time and traffic; return its seconds."""
        seconds = time.monotonic() - started
        self.point.seconds += seconds
        self.point.traffic = self.point.traffic + answers.traffic
        return seconds

    def _note(self, answers: Answers, task: Task, started: float) -> None:
        """Write the round into the run folder, and the checkpoint after it."""
        seconds = self._account(answers, started)
        merged = answers.merged()
        judged = self.point.best_score if task.final else self.point.scores[-1]
        self.run.note(
            {
                "phase": task.phase,
                "arm": task.arm,
                "round": task.round,
                "final": task.final,
                "score": _known(judged),
                "metrics": {"loss": sums.ratio(merged, "train/loss", "train/steps")},
                "sites": {
                    reply.name: {
                        "n": reply.examples,
                        "score": _known(self.phase.score(sums.under("val", reply.sums))),
                        "loss": sums.ratio(reply.sums, "train/loss", "train/steps"),
                        "seconds": round(answers.seconds[reply.name], 3),
                    }
                    for reply in answers.replies
                },
                "left_out": answers.left_out,
                "seconds": round(seconds, 3),
                "bytes": {"up": answers.traffic.up, "down": answers.traffic.down},
            }
        )
        self.run.keep_checkpoint(self.name, self.point)
        self._tell(answers, task, _known(judged), seconds)

    def _tell(self, answers: Answers, task: Task, score: float | None, seconds: float) -> None:
        """Log what became of a round."""
        logs.concern(Subject(task.run, task.phase, task.arm, task.round))
        log.info(
            "round %d of %s: score %s, %d sites, %.1f s",
            task.round, self.name, "unknown" if score is None else f"{score:.4f}",
            len(answers.replies), seconds,
            extra={
                "score": score, "seconds": round(seconds, 3),
                "bytes_up": answers.traffic.up, "bytes_down": answers.traffic.down,
            },
        )  # fmt: skip


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def run_phase(
    sites: Sites, phase: Phase, settings: Settings, run: RunFolder, start: Task
) -> Checkpoint:
    """Train one arm of a phase over the sites, and test the model that is kept.

    Args:
        sites: those that take part.
        phase: what is trained.
        settings: of the run.
        run: where rounds are noted and checkpoints kept; an interrupted arm goes on from there.
        start: phase, arm, seed, classes and imputer of every task that is sent.

    Returns:
        The last checkpoint, with the best model and each site's sums over the test sets.

    Raises:
        RunError: it cannot go on; the reason names the sites.
    """
    return Trainer(sites, phase, settings, run, start).trained()
