"""Every fault a user can meet, one class each; its message is one sentence: what was wrong, and what would be right."""

from __future__ import annotations


class KernelwrightError(Exception):
    """Base of every error that is the user's to see. ``str(error)`` is one sentence."""


class TaskError(KernelwrightError):
    """The task cannot be read or its reference cannot be used."""


class SourceNotFound(TaskError):
    """The SOURCE argument names no readable file, module or attribute."""


class SourceInvalid(TaskError):
    """The SOURCE exists but is not a task: a syntax error, no ``Model``, no ``get_inputs``."""


class InputsInvalid(TaskError):
    """The example inputs do not fit the reference."""


class ReferenceFailed(TaskError):
    """The reference raises, returns nothing comparable, or returns NaN for ordinary inputs."""


class ReferenceNondeterministic(TaskError):
    """Two runs of the reference on the same inputs disagree."""


class ReferenceTooLarge(TaskError):
    """The reference needs more memory than the machine has."""


class ReferenceTooSlow(TaskError):
    """The reference ran into the time limit."""


class TargetUnknown(KernelwrightError):
    """The target's name is not one of those that exist."""


class NotServable(KernelwrightError):
    """A candidate of this kind may be judged in a worker, but never runs in the user's own process."""


class SubmissionInvalid(KernelwrightError):
    """A file handed in for judging is none of the forms that a submission may have."""


class CompilerMissing(KernelwrightError):
    """No C++ compiler was found."""


class BuildFailed(KernelwrightError):
    """The compiler rejected a candidate's source."""


class ExtensionRefused(KernelwrightError):
    """A C++ extension inside a Python candidate cannot be read off its text, or must not be built."""


class CacheUnusable(KernelwrightError):
    """The cache folder cannot be written and no fallback is possible."""


class ArchiveError(KernelwrightError):
    """The archive cannot be used."""


class ArchiveTooNew(ArchiveError):
    """The archive was written by a newer version of kernelwright."""


class ArchiveFull(ArchiveError):
    """The disk is full or failing, so nothing more can be recorded; what was recorded is kept."""


class ArchiveBusy(ArchiveError):
    """Another process held the archive's lock for longer than is worth waiting."""


class LockMismatch(ArchiveError):
    """``kernelwright.lock`` pins a winner that the archive does not hold or that no longer verifies."""


class NoGradient(KernelwrightError):
    """A result carries no gradient although the task asks for one."""


class OutsideDomain(KernelwrightError):
    """A kernel was called with inputs outside its verified domain and no fallback was allowed."""


class Unsupported(KernelwrightError):
    """The compiler has no lowering for this operation; callers keep it as an ATen call."""


class OptionInvalid(KernelwrightError):
    """An option of a command has a value that makes no sense."""


class OutputUnwritable(KernelwrightError):
    """A file or folder that was asked for as output cannot be written."""


class SuiteInvalid(KernelwrightError):
    """The folder given as a suite holds no task files, or not those that were asked for."""


class WallsMissing(KernelwrightError):
    """This machine cannot keep an untrusted candidate from doing harm."""


class TritonMissing(KernelwrightError):
    """The package triton is not installed, or not for this platform."""


class CudaMissing(KernelwrightError):
    """Neither NVRTC nor nvcc was found."""


class NotEmulated(KernelwrightError):
    """A CUDA source uses what the CPU's stand-in for a GPU does not know."""


class GpuMissing(KernelwrightError):
    """What runs on a GPU alone was asked for on a machine without one."""


class BundleInvalid(KernelwrightError):
    """A file is no bundle of evidence, or its parts are not those that its manifest lists."""


class BundleTooNew(BundleInvalid):
    """A bundle was written by a newer version of kernelwright."""


class ExportImpossible(KernelwrightError):
    """What is to be exported cannot be said in the form that was asked for."""


class TraceInvalid(KernelwrightError):
    """A file is not of the FlashInfer Trace schema, or uses a part of it that is not supported."""


class ModelError(KernelwrightError):
    """A language model cannot be asked, or what is known of its answers cannot be used."""


class ModelMissing(ModelError):
    """A model, or the package that runs it, is not installed; or no endpoint or key is named."""


class ModelUnavailable(ModelError):
    """A model gave no answer: its endpoint refused, failed or was too slow, or its transcript ends."""


class AllowanceSpent(ModelError):
    """The tokens or the money that a search may spend on a model are spent."""


class TranscriptInvalid(ModelError):
    """A file is no transcript of answers, or one of another model, task or setting; or it cannot be written."""


class LowBitInvalid(KernelwrightError):
    """A low-bit tensor, type or quantiser was given something that it cannot hold or use."""


class PairwiseInvalid(KernelwrightError):
    """A reduction over pairs was given points, values or an expression that do not fit each other."""


class ZooInvalid(KernelwrightError):
    """A system of the zoo that does not exist, or arguments that it cannot work on."""


class GgufInvalid(KernelwrightError):
    """A file is no GGUF file, is cut short, or says of itself what cannot be true."""


class SuggestionsInvalid(KernelwrightError):
    """Suggestions of the proficiency benchmark are not where or what they should be."""
