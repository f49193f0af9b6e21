"""Encoders, projection heads, and the two models that strategies train: one that classifies, one
that embeds."""

from simo_cl.models.classifier import Classifier
from simo_cl.models.embedding_model import UNSEEN_CLASS_SCORE, EmbeddingModel, ReadOut
from simo_cl.models.encoder import Encoder
from simo_cl.models.evaluating import evaluating
from simo_cl.models.norm import Norm
from simo_cl.models.patch_whitening import PatchWhitening
from simo_cl.models.precision import Precision
from simo_cl.models.projection_head import Head, projection_head
from simo_cl.models.registry import EncoderBuilder, build_encoder, encoder_names, register_encoder

__all__ = [
    "UNSEEN_CLASS_SCORE",
    "Classifier",
    "EmbeddingModel",
    "Encoder",
    "EncoderBuilder",
    "Head",
    "Norm",
    "PatchWhitening",
    "Precision",
    "ReadOut",
    "build_encoder",
    "encoder_names",
    "evaluating",
    "projection_head",
    "register_encoder",
]
