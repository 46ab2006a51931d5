"""What changes while one emulator trains: one epoch after another, and all of it as a checkpoint holds it."""

import copy
import logging
import math
import time
import warnings
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sealiency.config.emulator import LeadTraining
from sealiency.config.networks import Network, OwnNetwork
from sealiency.data.samples import SampleWindows, Split
from sealiency.emulators.controls import randomise
from sealiency.emulators.devices import choose_device, choose_precision
from sealiency.emulators.interruption import Stopped
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.networks.forecaster import Forecaster
from sealiency.emulators.networks.own import Own, load_weights
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.networks.skip import PixelRidgeSkip
from sealiency.errors import SealiencyError
from sealiency.provenance import name_processor

LOGGER = logging.getLogger(__name__)


def masked_mse(forecast: Tensor, target: Tensor, ocean: Tensor) -> Tensor:
    """Return the mean squared error over samples and ocean cells.

    Parameters
    ----------
    forecast, target
        Standardised anomalies of shape (sample, lat, lon).
    ocean
        Bool of shape (lat, lon).
    """
    return ((forecast - target)[:, ocean] ** 2).mean()


def weighted_likelihood(forecast: Tensor, log_variance: Tensor, target: Tensor, ocean: Tensor, beta: float) -> Tensor:
    """Return the beta-weighted Gaussian negative log likelihood, the mean over samples and ocean cells (Seitzer et al. 2022).

    Parameters
    ----------
    forecast, log_variance, target
        Standardised anomalies, and logarithms of variances, of shape (sample, lat, lon).
    ocean
        Bool of shape (lat, lon).
    beta
        Power of the variance that each term is multiplied by, which itself is not trained by that: without it, large errors
        that the variance has learned to expect would hardly be learned from.
    """
    log_variance = log_variance[:, ocean]
    likelihood = ((forecast - target)[:, ocean] ** 2 * torch.exp(-log_variance) + log_variance) / 2
    return (likelihood * torch.exp(beta * log_variance).detach()).mean()


class TrainingState:
    """Everything that changes during training, in one place so that a checkpoint holds all of it."""

    def __init__(
        self,
        anomaly: Tensor,
        ocean: Tensor,
        split: Split,
        history: int,
        network: Network,
        settings: LeadTraining,
        signals: list[int],
    ) -> None:
        self.settings = settings
        self.signals = signals
        self.device = choose_device(settings.device)
        # Or a GPU may take another order of sums each time.
        torch.backends.cudnn.deterministic = True
        self.precision = choose_precision(settings.precision, self.device)
        torch.manual_seed(settings.seed)
        self.order = torch.Generator().manual_seed(settings.seed)
        # Channels-last is the layout in which convolutions are fastest on every device tried.
        self.network = build_network(network, history, (ocean.shape[0], ocean.shape[1]), settings.dropout)
        if isinstance(self.network, Own) and isinstance(network, OwnNetwork) and isinstance(network.weights, str):
            load_weights(self.network, network.weights)
        self.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = _build_schedule(self.optimizer, settings)
        self.average: AveragedModel | None = None
        self.ocean = ocean.to(self.device)
        self.windows = SampleWindows(anomaly, settings.lead, history)
        self.split = split
        # The sample whose target belongs to each sample: its own, or another one's of the same period.
        self.target_samples = np.arange(len(anomaly))
        if settings.control == "shuffled":
            generator = np.random.default_rng(settings.seed)
            for period in (split.training, split.validation):
                self.target_samples[period.start : period.stop] = generator.permutation(period)
        validation = list(split.validation)
        persistence = masked_mse(self.windows.persistence(validation), self._targets(validation).cpu(), ocean)
        self.persistence_rmse = math.sqrt(persistence.item())
        self.epoch = 0
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self.rows: list[dict[str, float]] = []
        # Of the epoch that runs: the samples still to train on (None before it begins), squared errors, seconds before now.
        self.left: Tensor | None = None
        self.squared = 0.0
        self.seconds = 0.0
        self.began = time.monotonic()
        self.processor = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else name_processor()
        self.processors: list[str] = []
        LOGGER.info("training on %s in %s, %d samples", self.device, self.precision, len(split.training))

    def run_epoch(self) -> None:
        """Train and validate once, or go on within the epoch that was stopped; raises `Stopped` when a signal came."""
        self.began = time.monotonic()
        self._heed_signals()
        self._note_processor()
        learning_rate = float(self.schedule.get_last_lr()[0])
        training_rmse = self._train()
        validation_rmse = self._validate()
        if not math.isfinite(training_rmse + validation_rmse):
            raise SealiencyError(
                f"training.learning_rate = {self.settings.learning_rate:g}: the loss of lead {self.settings.lead} is not "
                f"finite in epoch {self.epoch + 1}; lower the learning rate or set training.precision: float32"
            )
        with warnings.catch_warnings():
            # Where a run goes on between training and validation, PyTorch has not seen the steps before.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.schedule.step()
        self.epoch += 1
        if not self.rows or validation_rmse < min(row["validation_rmse"] for row in self.rows):
            self.best_epoch = self.epoch
            self.best_weights = self._copy_weights()
        seconds = self.seconds + time.monotonic() - self.began
        self.left, self.squared, self.seconds = None, 0.0, 0.0
        self.rows.append(
            {
                "epoch": self.epoch,
                "learning_rate": learning_rate,
                "training_rmse": training_rmse,
                "validation_rmse": validation_rmse,
                "persistence_rmse": self.persistence_rmse,
                "seconds": round(seconds, 2),
            }
        )
        LOGGER.info(
            "lead %d epoch %d of %d: training RMSE %.4f, validation RMSE %.4f (persistence %.4f), %.1f s an epoch, "
            "at most %.0f s left",
            self.settings.lead,
            self.epoch,
            self.settings.epochs,
            training_rmse,
            validation_rmse,
            self.persistence_rmse,
            seconds,
            seconds * (self.settings.epochs - self.epoch),
        )

    def _train(self) -> float:
        self.network.train()
        if self.left is None:
            self.left = torch.randperm(len(self.split.training), generator=self.order) + self.split.training.start
        while len(self.left):
            batch = self.left[: self.settings.batch_size]
            targets = self._targets(batch.tolist())
            members = self._forecast(batch, self.network, by_member=True)
            # Each member learns by itself: nothing of one is in the loss of another.
            losses = [self._measure_loss(*member, targets) for member in members]
            loss = torch.stack(losses).sum()
            with torch.no_grad():
                squared = masked_mse(torch.stack([forecast for forecast, _ in members]).mean(0), targets, self.ocean)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            self.squared += squared.item() * len(batch)
            self.left = self.left[len(batch) :]
            self._heed_signals()
        return math.sqrt(self.squared / len(self.split.training))

    def _measure_loss(self, forecast: Tensor, log_variance: Tensor | None, targets: Tensor) -> Tensor:
        if log_variance is None:
            return masked_mse(forecast, targets, self.ocean)
        return weighted_likelihood(forecast, log_variance, targets, self.ocean, self.settings.beta)

    @property
    def _kept(self) -> Forecaster:
        """The network that is validated and kept: the one that is trained, or that of its averaged weights."""
        return self.network if self.average is None else cast("Forecaster", self.average.module)

    def _validate(self) -> float:
        self._kept.eval()
        squared = 0.0
        with torch.inference_mode():
            for batch in torch.as_tensor(list(self.split.validation)).split(self.settings.batch_size):
                ((forecast, _),) = self._forecast(batch, self._kept)
                squared += masked_mse(forecast, self._targets(batch.tolist()), self.ocean).item() * len(batch)
                # Validation changes no state: a later run begins it anew.
                self._heed_signals()
        return math.sqrt(squared / len(self.split.validation))

    def take_as_it_is(self) -> None:
        """Take the network as it is before training: the user's, one of random weights, or what its skip forecasts."""
        if self.settings.control == "random":
            self._randomise()
        self.network.eval()
        self.best_weights = self._copy_weights()
        self.rows.append(
            {
                "epoch": 0,
                "learning_rate": 0.0,
                "training_rmse": math.nan,
                "validation_rmse": self._validate(),
                "persistence_rmse": self.persistence_rmse,
                "seconds": 0.0,
            }
        )

    def begin(self) -> None:
        """Fit what is not trained, and begin the average of the weights."""
        self._fit_linear_parts()
        self._begin_average()

    def _begin_average(self) -> None:
        if self.settings.averaging:
            decay = get_ema_multi_avg_fn(self.settings.averaging)
            self.average = AveragedModel(self.network, multi_avg_fn=decay, use_buffers=True)

    def _fit_linear_parts(self) -> None:
        """Fit the whitening of the history, the ridge regression of a skip and the first scale of the variance."""
        if self.network.whitening is not None:
            self.network.whitening.fit(self.windows.known_months(self.split.training), self.ocean.cpu())
        self._fit_ridge()
        if self.network.uncertainty is not None:
            # Layers that give zeros then expect the errors of the skip, or of a forecast of zero.
            left = self._training_targets_without_skip()
            self.network.uncertainty.offset.fill_(math.log(float((left.double() ** 2).mean())))

    def _fit_ridge(self) -> None:
        if not isinstance(self.network.skip, PixelRidgeSkip):
            return
        # On what the control has for targets.
        ridge = PixelRidge.fit(
            self.windows, self.split.training, self.ocean.cpu().numpy(), target_samples=self.target_samples
        )
        LOGGER.info("ridge regression of the skip: penalty %g", ridge.penalty)
        self.network.skip.take(torch.from_numpy(ridge.weights), torch.from_numpy(ridge.offset), self.ocean)

    def _randomise(self) -> None:
        """Draw random weights, with outputs of the size that training would aim at."""
        batches = torch.as_tensor(list(self.split.training)).split(self.settings.batch_size)
        rms = math.sqrt(float((self._training_targets_without_skip().double() ** 2).mean()))
        randomise(self.network, lambda: (self._inputs(batch) for batch in batches), self.ocean, rms)

    def _training_targets_without_skip(self) -> Tensor:
        """Return what the skip leaves of the targets, of shape (sample, ocean cell)."""
        training = list(self.split.training)
        wanted = self._targets(training)
        with torch.no_grad():
            batches = torch.as_tensor(training).split(self.settings.batch_size)
            wanted -= torch.cat([self.network.forecast_skip(self._inputs(batch)) for batch in batches])
        return wanted.cpu()[:, self.ocean.cpu()]

    def calibrate(self) -> None:
        """Scale the variances of the best weights, by one number, so that they are those of the errors on validation samples.

        Errors on training samples, which variances are trained on, are smaller than others (Levi et al. 2022, Sensors 22).
        """
        if self.network.uncertainty is None:
            return
        self.network.load_state_dict(self.best_weights)
        self.network.eval()
        ratios = []
        with torch.inference_mode():
            for batch in torch.as_tensor(list(self.split.validation)).split(self.settings.batch_size):
                ((forecast, log_variance),) = self._forecast(batch, self.network)
                assert log_variance is not None
                errors = (forecast - self._targets(batch.tolist())) ** 2
                ratios.append((errors * torch.exp(-log_variance))[:, self.ocean].double())
        factor = float(torch.cat(ratios).mean())
        LOGGER.info(
            "variances of the forecasts are multiplied by %.3g, as the errors on validation samples ask", factor
        )
        self.best_weights["uncertainty.offset"] += math.log(factor)

    def _copy_weights(self) -> dict[str, Tensor]:
        return {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self._kept.state_dict().items()
        }

    def _targets(self, samples: list[int]) -> Tensor:
        return self.windows.targets(self.target_samples[samples].tolist()).to(self.device)

    def _inputs(self, samples: Tensor) -> Tensor:
        return self.windows.inputs(samples.tolist()).to(self.device, memory_format=torch.channels_last)

    def _forecast(
        self, samples: Tensor, network: Forecaster, by_member: bool = False
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return forecasts and, of a network with uncertainty, logarithms of variances, of shape (sample, lat, lon).

        There is one pair, or one a member of the network.
        """
        inputs = self._inputs(samples)
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision == torch.bfloat16):
            pairs = network.forecast_members(inputs) if by_member else [network.forecast_both(inputs)]
        # The loss is taken in float32: squares of small errors would vanish in bfloat16.
        return [
            (forecast[:, 0].float(), None if log_variance is None else log_variance[:, 0].float())
            for forecast, log_variance in pairs
        ]

    def _heed_signals(self) -> None:
        if self.signals:
            raise Stopped(self.signals[0])

    def _note_processor(self) -> None:
        if self.processor in self.processors[-1:]:
            return
        if self.processors:
            LOGGER.warning(
                "training goes on on %s, after %s: its weights may differ in their last bits from those of either alone",
                self.processor,
                self.processors[-1],
            )
        self.processors.append(self.processor)

    def describe_progress(self) -> str:
        """Return how far training is, in words."""
        if self.left is None:
            return f"epoch {self.epoch}"
        total, left = (math.ceil(n / self.settings.batch_size) for n in (len(self.split.training), len(self.left)))
        return f"{total - left} of {total} batches of epoch {self.epoch + 1}"

    def content(self) -> dict[str, Any]:
        """Return all that a checkpoint holds."""
        return {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "rows": self.rows,
            # A slice would be written with all of the permutation behind it.
            "left": None if self.left is None else self.left.clone(),
            "squared": self.squared,
            "seconds": 0.0 if self.left is None else self.seconds + time.monotonic() - self.began,
            "processors": self.processors,
            "weights": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        self.epoch = content["epoch"]
        self.best_epoch = content["best_epoch"]
        self.best_weights = content["best_weights"]
        self.rows = copy.deepcopy(content["rows"])
        self.left = content["left"]
        self.squared = content["squared"]
        self.seconds = content["seconds"]
        self.processors = list(content["processors"])
        self.network.load_state_dict(content["weights"])
        self._begin_average()
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.order.set_state(content["order"])
        torch.set_rng_state(content["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(content["random_cuda"])


def _build_schedule(optimizer: torch.optim.Optimizer, settings: LeadTraining) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs)
    # Xu et al.'s code release steps by 0.99 every 3 epochs; a factor of 1 keeps the rate constant.
    gamma = 0.99 if settings.schedule == "step" else 1.0
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=gamma)
