"""The training step, as thin a LightningModule as possible."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from smvae_core.errors import SMVAEError
from smvae_core.model.distributions import Share
from smvae_core.model.matching import matched, matching
from smvae_core.model.objective import ElboTerms, Objective, elbo
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_training.config import PAIRING, TrainConfig
from smvae_training.steps.data import Batch
from smvae_training.steps.embedded import EmbeddedRecords
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.steps.pairing import Mixed, add_pairing, pairing_decoder
from smvae_training.steps.stages import Stages
from smvae_training.steps.subsets import NOISE_STREAM

#: Largest loss in nats that training can come back from. The square of a larger one's gradient
#: overflows float32, and with it AdamW's second moment: those weights never move again.
LARGEST_LOSS = 1e15
#: Largest norm of the gradient of stage 'match', in place of optimizer.clip: its loss is no sum
#: over pixels.
MATCH_CLIP = 50.0


class TrainingDiverged(SMVAEError, ArithmeticError):
    """The loss or what is learned is not a finite number, or the loss is beyond LARGEST_LOSS."""

    def __init__(self, step: int, problem: str) -> None:
        super().__init__(
            f"{problem} at step {step}: lower --optimizer.lr, set --optimizer.clip or, for "
            "a pooling by evidence, --model.log-precision-limit (8, say), for another one "
            "--model.log-var-limit (4, say), or train with --hardware.precision 32; the last "
            "checkpoint is from before"
        )


class SMVAETraining(LightningModule):
    """One step: normalise on the device, draw, ELBO. Everything random is keyed by (seed, step)."""

    def __init__(
        self,
        model: SMVAE,
        statistics: Mapping[str, Statistics],
        config: TrainConfig,
        stages: Stages,
        batch_size: int,
        objective: Objective = elbo,
        records: EmbeddedRecords | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: Trained in place.
            statistics: Of the training split, per modality.
            config: The run's settings.
            stages: Steps of the run; schedule and annealing are those of the first stage.
            batch_size: Records per step over all devices, for the speed that is logged.
            objective: What is minimised; another method of the benchmarks brings its own.
            records: What later stages remember; needed where there are any.
        """
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False) if config.optimizer.ema else None
        self.normaliser = BatchNormaliser(
            model.config.modalities, statistics, config.hardware.channels_last
        )
        self.config = config
        self.stages = stages
        self.records = records
        memory = model.memory is not None
        self.best = copy.deepcopy(model.set_encoder).requires_grad_(False) if memory else None
        """What stage 'match' draws posteriors towards: the set encoder of the stage before."""
        self.batch_size = batch_size
        self.objective = objective
        self.pairing = None
        """Decodes whether sensors belong together, where that is learned."""
        self._weighed = config.objective
        if PAIRING in config.data.self_supervised:
            self.pairing = pairing_decoder(model.config.latent_dim)
            own = {k: w for k, w in config.objective.weights.items() if k != PAIRING}
            self._weighed = replace(config.objective, weights=own)
        self._compiled = torch.compile(objective) if config.hardware.compile else objective
        self._terms: ElboTerms | None = None
        self._loss: Tensor | None = None
        self._share: Share | None = None
        self._beta = 0.0

    @property
    def best_model(self) -> SMVAE:
        """The model to evaluate and export: the average where there is one."""
        return self.model if self.average is None else self.average

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        step = self.global_step
        seed_noise(step_seed(self.config.seed, step))
        if self.stages.of(step) != "own":
            self._remember(step)
        stage = self.stages.of(step)
        self._loss = self._match(batch) if stage == "match" else self._decode(batch, step)
        on_cpu = self._loss.device.type == "cpu"  # reading a number makes a GPU wait
        looked_at = on_cpu or step % self.config.log.every == 0
        if looked_at and (problem := self._loss_problem()):
            raise TrainingDiverged(step, problem)
        self._share = batch.share
        if batch.share is None:
            return self._loss
        # DDP takes the mean over devices, whose rows may be one more or fewer: weigh them
        return self._loss * (batch.share.rows * batch.share.stride / batch.share.total)

    def _decode(self, batch: Batch, step: int) -> Tensor:
        """Return the objective's loss."""
        inputs = self.normaliser(batch.arrays)
        changed: dict[str, Any] = {}
        if batch.observed:
            changed["observed"] = inputs | self.normaliser(batch.observed)
        if batch.targets:
            changed["targets"] = batch.targets
        self._beta = self.config.beta(step, self.stages.own)
        every = (self.model, inputs, batch.recorded, batch.present)
        if batch.references is None:
            if batch.share is not None:
                changed["generator"] = batch.share
            self._terms = self._compiled(*every, self._beta, self._weighed, **changed)
            if batch.mixed is not None:
                seen = changed.get("observed", inputs)
                self._terms = self._with_pairing(self._terms, batch, batch.mixed, seen)
        else:
            assert self.records is not None
            self._terms = matched(
                *every,
                self._weighed,
                self.records.embedded(batch.references, self.device),
                self.records.best(batch.references, self.device),
                self.config.context.matching,
                **changed,
            )
        return self._terms.loss

    def _with_pairing(
        self, terms: ElboTerms, batch: Batch, mixed: Mixed, seen: Mapping[str, Tensor]
    ) -> ElboTerms:
        """Return the terms with what is learned of the batch mixed."""
        assert self.pairing is not None
        shown = dict(seen)
        for name, samples in self.normaliser(mixed.samples).items():
            shown[name] = seen[name].index_copy(0, mixed.rows[name], samples)
        modalities = self.model.config.modalities
        weight = self.config.objective.target_weight(self.pairing.target, modalities)
        return add_pairing(
            terms,
            self.model,
            self.pairing,
            shown,
            batch.present,
            mixed.together,
            weight,
            batch.share,
        )

    def _match(self, batch: Batch) -> Tensor:
        """Return how far posteriors with memory are from those of the instant with every sensor."""
        assert batch.references is not None
        assert self.records is not None
        self._terms = None
        embeddings, elements = self.records.embedded(batch.references, self.device)
        posterior = self.model.posterior(embeddings, batch.present, elements)
        return matching(self.records.best(batch.references, self.device), posterior).mean()

    def _remember(self, step: int) -> None:
        """Hold the sensors' networks still, and begin a later stage where it begins."""
        assert self.records is not None
        assert self.best is not None
        if step == self.stages.own:
            if self.average is not None:
                self.model.load_state_dict(self.average.state_dict())
            self.best.load_state_dict(self.model.set_encoder.state_dict())
        if self.stages.begins(step):  # moments of gradients of another size would hold it back
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
        if not self.records.made:
            self.model.embeddings.requires_grad_(False).eval()
            self.records.make(self.model, self.best, self.normaliser, self.device)
        if step == self.stages.own:
            evidence, memory = self.model.set_encoder.evidence, self.model.memory
            assert evidence is not None
            assert memory is not None
            memory.widen(evidence.widen(self.records.second_moment().to(self.device)))

    def _loss_problem(self) -> str:
        """Return what is wrong with the last step's loss, or an empty string."""
        loss = 0.0 if self._loss is None else self._loss.item()
        return "" if abs(loss) <= LARGEST_LOSS else f"the loss is {loss:g}"  # NaN is not within

    @torch.no_grad()
    def problem(self) -> str:
        """Return why what was learned is not worth a checkpoint, or an empty string.

        Looked at are the last loss, weights, statistics, averaged weights, and the optimiser's
        moments.
        """
        names: dict[Tensor, str] = {weight: name for name, weight in self.named_parameters()}
        tensors = dict(self.state_dict())
        for optimizer in self.trainer.optimizers:
            for parameter, state in optimizer.state.items():
                moments = {k: v for k, v in state.items() if isinstance(v, Tensor)}
                tensors |= {f"{k} of {names[parameter]}": v for k, v in moments.items()}
        finite = torch.stack([torch.isfinite(t).all().to(self.device) for t in tensors.values()])
        if not finite.all():
            first = list(tensors)[int((~finite).nonzero()[0])]
            return f"{first} is not finite"
        return self._loss_problem()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step and move the average at once, before any callback saves or scores it."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            stage_step = self.global_step  # what is learned anew is not held back by its beginning
            if stage_step > self.stages.own:
                stage_step -= self.stages.own
            update_average(self.average, self.model, self.config.optimizer.ema, stage_step)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, as Lightning refuses to under bf16 for a fused optimizer.

        That is for the loss scaling of fp16, which is none of our precisions.
        """
        if gradient_clip_val and self.stages.of(self.global_step) == "match":
            gradient_clip_val = MATCH_CLIP
        if gradient_clip_val:
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            clip_gradient(weights, gradient_clip_val)

    def metrics(self) -> dict[str, float]:
        """Return the terms of the last step, in nats per record, and the settings of that step.

        They are those of the whole batch: where several devices share it, all of them must ask.
        """
        if self._loss is None:
            return {}
        values = self._means()
        lr = {"lr": float(self.trainer.optimizers[0].param_groups[0]["lr"])}
        if self._terms is None:
            return values | lr
        told = {name: values.pop(name) for name in [*values] if name.startswith("log_likelihood/")}
        values |= {"beta": self._beta} | lr | told
        return values | {f"noise_scale/{k}": v for k, v in self.model.noise_scale().items()}

    def _means(self) -> dict[str, float]:
        """Return loss and terms of the last step, means over the rows of all devices."""
        assert self._loss is not None
        share, terms = self._share, self._terms
        found = {"loss": self._loss.detach()}
        rows: dict[str, int] = {}
        if terms is not None:
            found |= {"elbo": terms.elbo, "kl": terms.kl}
            found |= {f"log_likelihood/{k}": v for k, v in terms.log_likelihood.items()}
            rows = {f"log_likelihood/{k}": count for k, count in terms.rows.items()}
        if share is None:
            return {name: float(value) for name, value in found.items()}
        names = ["loss", "elbo", "kl"]  # in one order on every device, also of what this one lacks
        names += [f"log_likelihood/{k}" for k in (*self.model.names, *self.model.targets)]
        names += [f"log_likelihood/{PAIRING}"] if self.pairing is not None else []
        weight = [rows.get(k, share.rows) * (k in found) for k in names]
        sums = [float(found[k]) * w if w else 0.0 for k, w in zip(names, weight, strict=True)]
        total = torch.tensor([sums, weight], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        pairs = zip(names, *total.tolist(), strict=True)
        return {name: value / count for name, value, count in pairs if count}

    def configure_optimizers(self) -> Any:
        settings = self.config.optimizer
        scales = list(self.model.log_scale.parameters())
        if self.model.memory is not None:
            scales += self.model.memory.times()
        ids = {id(p) for p in scales}
        networks = [p for p in self.model.parameters() if id(p) not in ids]
        if self.pairing is not None:
            networks += self.pairing.parameters()
        noise_lr = settings.lr * settings.noise_lr_multiple
        groups: list[dict[str, Any]] = [
            {"params": networks},
            {"params": scales, "lr": noise_lr, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_factor(step, self.config, self.stages)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def lr_factor(step: int, config: TrainConfig, stages: Stages) -> float:
    """Return learning rate / config.optimizer.lr of step 0, 1, ...: warm-up, then the schedule."""
    settings = config.optimizer
    if stages.own <= step < stages.total:
        return stages.lr_factor(step, config.context.tune_lr)
    warm = min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "constant":
        return warm
    done = max(0, step - settings.warmup) / max(1, stages.own - settings.warmup)
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step, the same on every device: see `distributions.Share`."""
    state = np.random.SeedSequence([seed, NOISE_STREAM, step, 0]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def clip_gradient(weights: Sequence[Tensor], largest: float) -> None:
    """Scale the gradients so that their norm is at most `largest`, as torch's clip_grad_norm_.

    That one multiplies every gradient by 1 where the norm is smaller. On a CPU its number costs
    nothing to read, and then the multiplication is left out: 1 % of a step.
    """
    gradients = [w.grad for w in weights if w.grad is not None]
    if gradients and gradients[0].device.type == "cpu":
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)))
        if norm + 1e-6 <= largest:
            return
    torch.nn.utils.clip_grad_norm_(weights, largest)


def seed_noise(seed: int) -> None:
    """Seed torch's generators, as torch.manual_seed does, of the devices that are in use.

    Where there is no GPU, torch.manual_seed formats a stack trace for each kind of device that
    might come, and keeps it for good: 3 ms of every step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@torch.no_grad()
def update_average(average: SMVAE, model: SMVAE, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's; BatchNorm statistics are copied.

    The decay starts low, min(decay, (1 + step) / (10 + step)), so that the first weights are soon
    forgotten.
    """
    weight = 1.0 - min(decay, (1 + step) / (10 + step))
    targets = [p.detach() for p in model.parameters()]
    torch._foreach_lerp_(list(average.parameters()), targets, weight)
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)
