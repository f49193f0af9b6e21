"""Synthetic suites in the run-folder format: plausible numbers, no training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simo_cl.results import (
    PLAN,
    STATUS,
    Measured,
    Plan,
    PlanEntry,
    RunStatus,
    run_folder_name,
)
from simo_cl.results.arrays import write_arrays
from simo_cl.results.config import write_config
from simo_cl.results.status import Failure

# How well each strategy learns and keeps, between 0 and 1, and whether it has a loss space.
STRATEGIES: dict[str, tuple[float, float, bool]] = {
    "finetune": (0.93, 0.02, False),
    "joint": (0.80, 1.00, False),
    "er": (0.90, 0.50, False),
    "er_balanced": (0.88, 0.53, False),
    "er_ace": (0.83, 0.60, False),
    "der": (0.86, 0.56, False),
    "icarl": (0.80, 0.62, False),
    "supcon": (0.82, 0.58, True),
    "triplet": (0.78, 0.51, True),
    "simo": (0.85, 0.61, True),
    "er_simo": (0.90, 0.55, True),
    "joint_simo": (0.81, 1.00, True),
    "joint_supcon": (0.79, 1.00, True),
    "joint_triplet": (0.74, 1.00, True),
}
READOUTS = ("own", "ncm_memory", "ncm_oracle", "linear_probe", "knn", "mlp_head")
CLASS_NAMES = tuple(
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
)
MakeSuite = Callable[..., Path]


def write_suite(
    folder: Path,
    *,
    strategies: Iterable[str] = ("finetune", "joint", "er", "icarl", "supcon", "simo"),
    seeds: Sequence[int] = (0, 1, 2),
    variants: Sequence[str] = ("",),
    control: str | None = "er",
    failed: Iterable[tuple[str, int]] = (),
    missing: Iterable[tuple[str, int]] = (),
    unfinished: Iterable[tuple[str, int]] = (),
    built_by: Mapping[str, str] | None = None,
    data: str = "CIFAR-10, JPEG copy",
    experiences: int = 5,
    classes: int = 10,
    sample: int = 20,
) -> Path:
    """A result folder with one run for every strategy, variant and seed."""
    folder.mkdir(parents=True)
    planned = []
    for strategy in strategies:
        for variant in variants:
            for seed in seeds:
                run_folder = run_folder_name(strategy, variant, seed, "1a2b3c4d").as_posix()
                planned.append(
                    PlanEntry(
                        strategy=strategy,
                        built_by=(built_by or {}).get(strategy, ""),
                        variant=variant,
                        seed=seed,
                        folder=run_folder,
                    )
                )
                if (strategy, seed) in set(missing):
                    continue
                writer = _RunWriter(strategy, variant, seed, experiences, classes, sample)
                state = "finished"
                if (strategy, seed) in set(failed):
                    state = "failed"
                elif (strategy, seed) in set(unfinished):
                    state = "running"
                writer.write(folder / run_folder, state)
    plan = Plan(
        suite=folder.name,
        description="Synthetic numbers, to look at the report.",
        control=control,
        data=data,
        command=f"simo-cl run benchmarks/{folder.name}.yaml --data-root data",
        version="0.1.0",
        class_names=CLASS_NAMES if classes == 10 else tuple(f"class {c}" for c in range(classes)),
        runs=tuple(planned),
    )
    plan.write(folder / PLAN)
    return folder


class _RunWriter:
    def __init__(
        self, strategy: str, variant: str, seed: int, experiences: int, classes: int, sample: int
    ) -> None:
        self.strategy, self.variant, self.seed = strategy, variant, seed
        self.experiences, self.classes, self.sample = experiences, classes, sample
        self.learns, self.keeps, self.has_head = STRATEGIES[strategy]
        if variant:
            self.keeps *= 0.8 + len(variant) / 100
        number = list(STRATEGIES).index(strategy)
        # The seed's own effect is the same for all strategies, so that pairing by seed pays off.
        self.luck = np.random.default_rng(seed).normal(0, 0.015)
        self.random = np.random.default_rng([number, seed, len(variant)])
        self.rows = 1 if strategy.startswith("joint") else experiences
        self.class_experience = np.arange(classes) // (classes // experiences)

    def write(self, folder: Path, state: str) -> None:
        folder.mkdir(parents=True)
        write_config(folder, self._config())
        self._status(state).write(folder / STATUS)
        (folder / "log.txt").write_text("synthetic\n")
        if state != "finished":
            return
        arrays = self._arrays()
        write_arrays(folder / "arrays.npz", arrays)
        write_arrays(folder / "embeddings.npz", self._embeddings())
        write_arrays(folder / "snapshots.npz", self._snapshots())
        measured = (
            Measured(experience=t, time=1.79e9 + 100 * t, metrics=self._metrics(arrays, t))
            for t in range(self.rows)
        )
        (folder / "metrics.jsonl").write_text("".join(f"{each.line()}\n" for each in measured))

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "strategy": self.strategy,
            "seed": self.seed,
            "variant": self.variant,
            "data": {"name": "cifar10"},
            "stream": {
                "experiences": self.experiences,
                "class_order": "natural",
                "validation": 0.0,
                "evaluate_on": "test",
            },
            "model": {"encoder": "slim_resnet18", "width": 20, "norm": "batch"},
            "training": {
                "batch_size": 64,
                "new_share": 0.5,
                "epochs": 3.0,
                "optimizer": "sgd",
                "momentum": 0.9,
                "augment": ["crop", "flip"],
            },
            "memory": {"size": 1000},
            "evaluation": {"batch_size": 500, "samples_per_class": 100},
            "settings": self._own_settings(),
        }
        for part in filter(None, self.variant.split(",")):
            key, _, value = part.partition("=")
            section, _, name = key.rpartition(".")
            config[section or "settings"][name] = yaml.safe_load(value)
        return config

    def _own_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"lr": 0.1 if self.has_head else 0.03}
        if self.has_head:
            settings |= {"views": 1, "head": "mlp", "dimension": 16, "clip_grad_norm": 1.0}
        if self.strategy.endswith("simo"):
            settings |= {"epsilon": 0.1, "leaning": 0.01}
        return settings

    def _status(self, state: str) -> RunStatus:
        error = Failure(
            type="TrainingDivergedError",
            message="the loss became NaN in experience 2, iteration 118",
            traceback="Traceback (most recent call last):\n  ...\nTrainingDivergedError",
        )
        return RunStatus(
            state=state,
            started=1.79e9,
            ended=1.79e9 + 530 + 7 * self.seed if state != "running" else None,
            error=error if state == "failed" else None,
            environment={
                "python": "3.11.2",
                "torch": "2.14.1",
                "avalanche": "0.6.0",
                "simo_cl": "0.1.0",
                "platform": "Linux-6.1-x86_64",
                "cpu": "AMD EPYC",
                "cores": 2,
                "threads": 2,
                "device": "cpu",
            },
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for index, readout in enumerate(READOUTS):
            if self.strategy == "finetune" and readout == "ncm_memory":
                continue
            arrays[f"accuracy/{readout}"] = self._accuracy(0.02 * index)
        arrays["knn_initial"] = np.full(self.experiences, 0.24)
        arrays["confusion"] = self._confusion(arrays["accuracy/own"])
        for space in self._spaces():
            offset = 0.55 if space == "features" else 0.05
            cosines = self._cosines(offset)
            arrays[f"class_mean_cos/{space}"] = cosines
            arrays[f"simo_similarity/{space}"] = np.abs(cosines) ** 2
        arrays["experience_of_class"] = self.class_experience
        return arrays

    def _spaces(self) -> list[str]:
        spaces = ["features", "features_centred"]
        return [*spaces, "embedding", "embedding_centred"] if self.has_head else spaces

    def _accuracy(self, bonus: float) -> np.ndarray:
        accuracy = np.zeros((self.rows, self.experiences))
        for t in range(self.rows):
            for i in range(self.experiences):
                age = t - i if self.rows > 1 else 0
                if age < 0:
                    continue
                kept = self.keeps + (1 - self.keeps) * 0.45**age
                crowding = 1 - 0.035 * t
                noise = self.random.normal(0, 0.012)
                accuracy[t, i] = self.learns * kept * crowding + bonus * (age > 0) + self.luck
                accuracy[t, i] += noise
        return np.clip(accuracy, 0, 1)

    def _confusion(self, accuracy: np.ndarray) -> np.ndarray:
        confusion = np.zeros((self.rows, self.classes, self.classes), dtype=np.int64)
        for t in range(self.rows):
            seen = self.class_experience <= t if self.rows > 1 else np.full(self.classes, True)
            for c in np.flatnonzero(seen):
                right = round(1000 * accuracy[t, self.class_experience[c]])
                others = np.flatnonzero(seen)
                others = others[others != c]
                share = self.random.dirichlet(1.0 + 3.0 * (others >= others.max() - 1))
                confusion[t, c, others] = np.floor((1000 - right) * share)
                confusion[t, c, c] = 1000 - confusion[t, c, others].sum()
        return confusion

    def _cosines(self, offset: float) -> np.ndarray:
        matrices = np.full((self.rows, self.classes, self.classes), np.nan)
        for t in range(self.rows):
            seen = self.class_experience <= t if self.rows > 1 else np.full(self.classes, True)
            noise = self.random.normal(0, 0.12, (self.classes, self.classes))
            full = np.clip(offset + (noise + noise.T) / 2, -1, 1)
            np.fill_diagonal(full, 1.0)
            matrices[t][np.ix_(seen, seen)] = full[np.ix_(seen, seen)]
        return matrices

    def _embeddings(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for part in ("train", "test"):
            labels = np.repeat(np.arange(self.classes), self.sample)
            for name, width in (("features", 32), ("embedding", 16)):
                if name == "embedding" and not self.has_head:
                    continue
                centres = np.random.default_rng(self.seed).normal(size=(self.classes, width))
                noise = self.random.normal(size=(len(labels), width)) * (1.6 - self.keeps)
                arrays[f"{part}_{name}"] = (centres[labels] + noise).astype(np.float16)
            arrays[f"{part}_labels"] = labels
        return arrays

    def _snapshots(self) -> dict[str, np.ndarray]:
        """The centres turn after each experience, and a class has one once it is learnt."""
        labels = np.repeat(np.arange(self.classes), min(self.sample, 200 // self.classes))
        arrays: dict[str, np.ndarray] = {"labels": labels}
        for name, width in (("features", 32), ("embedding", 16)):
            if name == "embedding" and not self.has_head:
                continue
            centres = np.random.default_rng(self.seed).normal(size=(self.classes, width))
            points = []
            for t in range(self.rows):
                centres = centres + self.random.normal(size=centres.shape) * (1 - self.keeps)
                learnt = (self.class_experience <= t) | (self.rows == 1)
                here = np.where(learnt[:, None], centres, 0)[labels]
                spread = self.random.normal(size=here.shape) * (1.6 - self.keeps)
                points.append((here + spread).astype(np.float16))
            arrays[name] = np.stack(points)
        return arrays

    def _metrics(self, arrays: dict[str, np.ndarray], t: int) -> dict[str, float]:
        accuracy = arrays["accuracy/own"]
        metrics = self._continual(accuracy, t)
        for readout in READOUTS[1:]:
            if f"accuracy/{readout}" in arrays:
                continual = self._continual(arrays[f"accuracy/{readout}"], t)
                metrics |= {f"{readout}/{name}": value for name, value in continual.items()}
        for space in self._spaces():
            metrics |= self._geometry(arrays[f"class_mean_cos/{space}"][t], space, t)
        metrics |= {
            "cost/steps": 235.0 * (t + 1 if self.rows > 1 else self.experiences),
            "cost/images": 30080.0 * (t + 1 if self.rows > 1 else self.experiences),
            "cost/train_seconds": (90 + 20 * self.has_head + 40 * (self.strategy == "icarl"))
            * (t + 1.0 if self.rows > 1 else self.experiences)
            + self.random.normal(0, 4),
            "cost/evaluate_seconds": 12.0 * (t + 1),
            "train/loss": 1.4 * 0.8**t,
        }
        return metrics

    def _continual(self, accuracy: np.ndarray, t: int) -> dict[str, float]:
        if self.rows == 1:
            mean = float(accuracy[0].mean())
            return {"average_accuracy": mean, "min_accuracy": float(accuracy[0].min())}
        seen = accuracy[: t + 1, : t + 1]
        anytime = [float(seen[k, : k + 1].mean()) for k in range(t + 1)]
        metrics = {
            "average_accuracy": anytime[-1],
            "average_anytime_accuracy": float(np.mean(anytime)),
            "learning_accuracy": float(np.diag(seen).mean()),
            "new_class_accuracy": float(seen[t, t]),
        }
        if t > 0:
            best = seen[:, :t].max(axis=0)
            metrics["forgetting"] = float((best - seen[t, :t]).mean())
            metrics["backward_transfer"] = float((seen[t, :t] - np.diag(seen)[:t]).mean())
            metrics["old_class_accuracy"] = float(seen[t, :t].mean())
        return metrics

    def _geometry(self, cosines: np.ndarray, space: str, t: int) -> dict[str, float]:
        seen = ~np.isnan(np.diag(cosines))
        off_diagonal = np.abs(cosines[np.ix_(seen, seen)][~np.eye(seen.sum(), dtype=bool)])
        metrics = {
            "orthogonality/mean_abs_cos": float(off_diagonal.mean()),
            "orthogonality/rms_cos": float(np.sqrt((off_diagonal**2).mean())),
            "orthogonality/coherence": float(off_diagonal.max()),
            "neighbourhood/ratio": float(0.3 + 0.05 * t + self.random.normal(0, 0.01)),
            "neighbourhood/knn_purity": float(0.95 - 0.08 * t + self.random.normal(0, 0.01)),
            "neighbourhood/antipodal_share": float(0.02 + 0.01 * t),
            "collapse/effective_rank": (rank := float(2.0 + 1.5 * t + self.random.normal(0, 0.2))),
            "collapse/effective_rank_share": rank / 16,
        }
        if t > 0:
            metrics["drift/class_mean"] = float((1 - self.keeps) * 0.4 + 0.02 * t)
        return {f"{space}/{name}": value for name, value in metrics.items()}
