"""The SimO loss: similarity and orthogonality of embeddings, without anchors."""

from simo_cl.losses.simo import SimOLoss, SimOTerms, simo_loss, simo_terms

__all__ = ["SimOLoss", "SimOTerms", "simo_loss", "simo_terms"]
