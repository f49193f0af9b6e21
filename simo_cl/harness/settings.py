"""The settings of a suite and of one run, as pydantic models."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from simo_cl.streams import Augmentation

NUMERICS = 1
"""Of the code that computes a run's numbers; part of every run's hash.

Raised by hand with every change that moves them, so that runs from before and after never share a
mean. Golden runs and golden values of the losses among the tests notice such a change.
"""

BUDGETS = ("training.epochs", "training.new_epochs")
"""The two ways to say the budget, of which a suite has one."""

OF_KEYS = "of_keys"
"""Type of a complaint about keys that do not go together, which are its context's ``keys``."""

PositiveInt = Annotated[int, Field(ge=1)]


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# Not strict: a whole number is fine for a setting that may have a fraction, and YAML reads 1e-3 as
# a text. But then yes and no would be numbers, too.
Number = Annotated[
    float, BeforeValidator(_no_truth_value), Field(strict=False, allow_inf_nan=False)
]

Item = TypeVar("Item")
TupleOf = Annotated[tuple[Item, ...], Field(strict=False)]
"""Not strict: YAML has lists."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataSettings(_Strict):
    """Which data set; its folder is given on the command line, since it differs by machine."""

    name: str = Field("digits", description="a data source: see `simo-cl data check`")


class StreamSettings(_Strict):
    """How the classes come."""

    protocol: Literal["batch", "online"] = Field(
        "batch", description="several epochs an experience, or one pass over small batches"
    )
    batch_size: PositiveInt = Field(10, description="online: new images a batch")
    replay_batch_size: PositiveInt = Field(10, description="online: images of the memory a batch")
    updates_per_batch: PositiveInt = Field(1, description="online: optimizer steps a batch")
    experiences: PositiveInt = Field(5, description="the remainder of the classes is in the last")
    class_order: Literal["natural", "seeded"] | tuple[int, ...] = Field(
        "natural", description="as the data set numbers them, shuffled by the seed, or a list"
    )
    validation: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the training images held out"
    )
    evaluate_on: Literal["test", "validation"] = "test"

    @field_validator("class_order", mode="before")
    @classmethod
    def _name_or_list(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and all(type(label) is int for label in value):
            return tuple(value)
        if value not in ("natural", "seeded"):
            raise ValueError("must be natural, seeded, or a list of all labels, as [1, 0, 2]")
        return value

    @model_validator(mode="after")
    def _something_to_evaluate_on(self) -> StreamSettings:
        if self.evaluate_on == "validation" and self.validation == 0:
            raise ValueError(
                "evaluate_on is validation, but nothing is held out; set validation to a share "
                "such as 0.1"
            )
        return self


class ModelSettings(_Strict):
    """The encoder, the same for all strategies, with the same initial weights by seed."""

    encoder: str = "slim_resnet18"
    width: PositiveInt = 20
    norm: Literal["batch", "group"] = "batch"
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device has it in hardware, else float32"
    )
    freeze: bool = Field(False, description="do not train the encoder, but what follows it")
    lr_factor: Annotated[Number, Field(gt=0)] = Field(
        1.0, description="the encoder's learning rate, over that of the rest"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ModelSettings:
        if self.freeze and self.lr_factor != 1:
            raise ValueError("lr_factor would do nothing with freeze: true; leave one of them out")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs from before there were these settings are the same as those without them now.
        content: dict[str, Any] = handler(self)
        usual = {"freeze": False, "lr_factor": 1.0}
        return {key: value for key, value in content.items() if usual.get(key) != value}


class RunModelSettings(ModelSettings):
    """The encoder of one run, in the precision that was chosen when the run was planned."""

    precision: Literal["float32", "bfloat16"] = "float32"


class TrainingSettings(_Strict):
    """The budget and the optimizer, the same for all strategies."""

    batch_size: Annotated[int, Field(ge=4)] = Field(
        64, description="images forwarded a step, views and memory counted"
    )
    new_share: Annotated[Number, Field(gt=0, lt=1)] = Field(
        0.5, description="the current classes' share of a batch once there is a memory"
    )
    epochs: Annotated[Number, Field(gt=0)] = Field(
        1.0, description="images forwarded in an experience, over the experience's images"
    )
    new_epochs: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="instead: how often each image is forwarded while it is new"
    )
    optimizer: Literal["sgd", "adamw"] = "adamw"
    momentum: Annotated[Number, Field(ge=0, lt=1, description="of SGD")] = 0.9
    weight_decay: Annotated[Number, Field(ge=0)] = 5e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    augment: TupleOf[Augmentation] = ()
    threads: PositiveInt = Field(2, description="CPU threads of a run")

    @model_validator(mode="after")
    def _two_images_a_part(self) -> TrainingSettings:
        new = round(self.batch_size * self.new_share)
        if min(new, self.batch_size - new) < 2:
            raise ValueError(
                f"a batch of {self.batch_size} with new_share {self.new_share} has {new} images "
                f"of the current classes and {self.batch_size - new} of the memory; each part "
                "needs at least 2"
            )
        return self

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingSettings:
        if self.new_epochs is not None and "epochs" in self.model_fields_set:
            raise PydanticCustomError(
                OF_KEYS,
                "is one of two ways to say the budget, of which a suite has one: epochs counts all "
                "images, new_epochs new ones; leave the other out",
                {"keys": list(BUDGETS)},
            )
        return self

    @model_serializer(mode="wrap")
    def _with_one_budget(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs from before there were new_epochs are the same as those with epochs now.
        content: dict[str, Any] = handler(self)
        content.pop("new_epochs" if self.new_epochs is None else "epochs", None)
        return content

    def steps(self, images: int) -> int:
        """Optimizer steps of an experience that has so many images."""
        if self.new_epochs is None:
            forwarded = self.epochs * images
        else:
            forwarded = self.new_epochs * images / self.new_share
        return max(1, math.ceil(forwarded / self.batch_size))


class MemorySettings(_Strict):
    """The replay memory, the same size for all strategies that have one."""

    size: PositiveInt = 1000


class EvaluationSettings(_Strict):
    """What is measured after each experience, and within it."""

    batch_size: PositiveInt = 128
    samples_per_class: Annotated[int, Field(ge=2)] = Field(
        100, description="images a class for geometry, oracle read-outs and stored embeddings"
    )
    every: PositiveInt | None = Field(
        None, description="online: batches between two measurements of anytime accuracy"
    )
    every_images: PositiveInt = Field(
        200, description="online: test images, of all classes together, that these are made on"
    )

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs from before there was anytime accuracy are the same as those without it now.
        content: dict[str, Any] = handler(self)
        if self.every is None:
            content.pop("every", None)
            content.pop("every_images", None)
        return content


class ResourceSettings(_Strict):
    """What is reserved for a run on a cluster; fractions let several share a GPU."""

    cpus: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="processor cores; default: training.threads"
    )
    gpus: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, description="a run with more than 0 trains on one"
    )


LEARNING_RATES = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
"""That ``tune`` tries, the same for all strategies that are compared."""


class StrategySettings(_Strict):
    """What every strategy file's ``Settings`` extends."""

    lr: Annotated[Number, Field(gt=0)] = Field(1e-3, description="peak learning rate")

    def check(self, run: RunSettings) -> None:
        """Called when a suite is planned; for strategies to extend.

        Raises:
            ValueError: these settings and the suite's do not go together; the message says why and
                what to do.
        """


class CommonSettings(_Strict):
    """What all runs of a suite share."""

    data: DataSettings = DataSettings()
    stream: StreamSettings = StreamSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    memory: MemorySettings = MemorySettings()
    evaluation: EvaluationSettings = EvaluationSettings()


_ALONE_IN_BATCH = (
    "training.batch_size",
    "training.new_share",
    *BUDGETS,
    "training.schedule",
)
_ALONE_IN_ONLINE = (
    "stream.batch_size",
    "stream.replay_batch_size",
    "stream.updates_per_batch",
    "evaluation.every",
    "evaluation.every_images",
)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Of what has a folder."""


class Suite(CommonSettings):
    """A suite file."""

    name: Name = Field("", description="default: the file's name")
    description: str = ""
    seeds: TupleOf[Annotated[int, Field(ge=0)]] = Field((0,), min_length=1)
    control: str | None = Field(None, description="the strategy others are tested against")
    checkpoint_minutes: Annotated[Number, Field(ge=0)] = Field(
        10.0, description="between two checkpoints within an experience; each begins with one"
    )
    resources: ResourceSettings = ResourceSettings()
    strategies: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="names of rows to settings; `strategy` is the name of a file"
    )
    grid: dict[str, list[Any]] = Field(default_factory=dict)

    @field_validator("seeds")
    @classmethod
    def _all_different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is named twice")
        return value

    @model_validator(mode="after")
    def _settings_of_one_protocol(self) -> Suite:
        online = self.stream.protocol == "online"
        names = _ALONE_IN_BATCH if online else _ALONE_IN_ONLINE
        sections = ("stream", "training", "evaluation")
        set_here = {f"{s}.{name}" for s in sections for name in getattr(self, s).model_fields_set}
        useless = [name for name in names if name in set_here | set(self.grid)]
        if useless:
            instead = _ALONE_IN_ONLINE if online else _ALONE_IN_BATCH
            raise PydanticCustomError(
                OF_KEYS,
                f"would do nothing with stream.protocol: {self.stream.protocol}; leave it out. "
                f"Settings of that protocol alone: {', '.join(instead)}",
                {"keys": useless},
            )
        return self

    @model_validator(mode="after")
    def _images_for_a_measurement(self) -> Suite:
        given = self.evaluation.model_fields_set | {
            key.removeprefix("evaluation.") for key in self.grid
        }
        if "every_images" in given and "every" not in given:
            raise PydanticCustomError(
                OF_KEYS,
                "would do nothing without evaluation.every, the batches between two measurements",
                {"keys": ["evaluation.every_images"]},
            )
        return self

    @field_validator("strategies", mode="before")
    @classmethod
    def _nothing_is_no_settings(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {} if settings is None else settings for name, settings in value.items()}


class RunSettings(CommonSettings):
    """One run, resolved: everything that decides its result."""

    model: RunModelSettings = RunModelSettings()
    entry: str = Field(description="of the suite's strategies: the name of the run's row")
    strategy: str = Field(description="the name of its file")
    seed: int
    settings: dict[str, Any] = Field(description="the strategy's own, defaults filled in")
    numerics: int = Field(NUMERICS, description="of the code that computes the numbers")
    plugins: str = Field("none", description="digest of the file of --plugins, and of its helpers")

    @field_validator("training")
    @classmethod
    def _budget_of_the_online_protocol(
        cls, training: TrainingSettings, info: ValidationInfo
    ) -> TrainingSettings:
        stream: StreamSettings | None = info.data.get("stream")
        if stream is None or stream.protocol == "batch":
            return training
        images = stream.batch_size + stream.replay_batch_size
        return training.model_copy(
            update={
                "batch_size": images,
                "new_share": stream.batch_size / images,
                "epochs": stream.updates_per_batch * images / stream.batch_size,
                "schedule": "constant",
            }
        )
