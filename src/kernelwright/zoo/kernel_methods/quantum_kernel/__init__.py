"""Quantum kernels, exactly simulated: states of n qubits as features of a support vector machine (docs/zoo/)."""

from ._classifiers import QSVC, PegasosQSVC
from ._data import make_ad_hoc
from ._example import SYSTEM, compare, picture
from ._kernel import FidelityGram, FidelityKernel, fidelity_gram, kernel_target_alignment, psd_project
from ._states import ZZFeatureMap, walsh_hadamard, zz_feature_states
from ._variational import VariationalClassifier, circuit, expectation, rotations, shifted_gradient

__all__ = [
    "QSVC",
    "SYSTEM",
    "FidelityGram",
    "FidelityKernel",
    "PegasosQSVC",
    "VariationalClassifier",
    "ZZFeatureMap",
    "circuit",
    "compare",
    "expectation",
    "fidelity_gram",
    "kernel_target_alignment",
    "make_ad_hoc",
    "picture",
    "psd_project",
    "rotations",
    "shifted_gradient",
    "walsh_hadamard",
    "zz_feature_states",
]
