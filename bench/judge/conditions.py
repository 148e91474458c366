"""What differs between the conditions of two reports, what that means for a speed, and whether it may be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from pydantic import JsonValue

from bench.judge.sides import pairs_of
from bench.report.environment import differences as differing_facts
from bench.report.run import Environment, Report, Result

# Fact key to what a difference in it means; the first pattern that fits speaks.
MEANINGS: Mapping[str, str] = {
    "host": "another machine, or the same under another name (`bench run --machine` sets it): even two of one kind "
    "differ by more than a small change does",
    "cpu.model": "another processor: times cannot be compared",
    "cpu.governor": "the clock is governed otherwise, which moves every time",
    "cpu.turbo": "the clock may rise higher on one side",
    "cpu.max_mhz": "the clock may rise higher on one side",
    "cpu.smt": "with hyper-threading two threads share a core",
    "cpu.flags_simd": "other vector instructions: other kernels run",
    "cpu.affinity": "the process may use another number of cores",
    "cpu.*": "another processor, or another part of one",
    "limits.cpu_quota_cores": "a quota stops threads for part of the time once it is spent",
    "limits.affinity": "the process may use another number of cores",
    "limits.*": "the container's limits are others",
    "memory.thp": "huge pages make large tensors cheaper to touch",
    "memory.*": "another amount of memory: most likely another machine",
    "os.kernel": "another kernel schedules and maps memory otherwise",
    "os.variables.LD_PRELOAD": "another memory allocator, most likely",
    "os.variables.*TF32*": "NVIDIA_TF32_OVERRIDE trades digits for speed on the GPU",
    "os.variables.*": "a variable that torch or its libraries obey",
    "os.*": "another operating system, or another setting of it",
    "python.*": "another interpreter: what a call costs outside of its kernels changes",
    "packages.torch": "another torch has other kernels and another compiler",
    "packages.torchvision": "the models may be built otherwise",
    "packages.triton": "the compiled GPU kernels come from another compiler",
    "packages.bench": "another version of bench may measure otherwise",
    "packages.*": "another version of a library that the measured process loads",
    "torch.flags.*tf32": "TF32 multiplies float32 with 10 bits of mantissa: faster, and less exact",
    "torch.flags.float32_matmul_precision": "below `highest`, float32 products are rounded: faster, and less exact",
    "torch.flags.cudnn_benchmark": "cuDNN tries algorithms and keeps the fastest on one side only",
    "torch.flags.*": "a switch of torch that decides which kernels run",
    "torch.cpu_capability": "other vector instructions: other kernels run",
    "torch.version": "another torch has other kernels and another compiler",
    "torch.git": "another build of torch",
    "torch.*": "torch was built with other parts",
    "threads.intra": "the number of threads that share one operator decides most CPU times",
    "threads.*": "threads are counted, placed or put to sleep otherwise",
    "gpu*.name": "another GPU: times cannot be compared",
    "gpu*driver*": "another driver compiles and schedules otherwise",
    "gpu*clock*": "the GPU's clocks are set otherwise",
    "gpu*power*": "the GPU may draw another power, and slows down at another point",
    "gpu*": "another GPU, or another setting of it",
    "environment": "one report does not say where it was measured",
    "weights": "other weights: not the same model, and with zeros or denormals not the same speed",
    "models.*.inputs": "other inputs: another amount of work",
    "models.*.preprocess": "images become other inputs",
    "models.*": "the model is built otherwise: that may be another amount of work",
    "measure.seed": "another seed makes other inputs, and other random weights",
    "measure.*": "decides how long and how often was measured, not how fast it is",
    "suite.name": "another suite: only the cases that both hold can be compared",
    "suite.sha256": "the suite's file was edited between the two",
}
# Said, yet no reason to refuse: they decide how much evidence there is, not how fast a case runs.
_HARMLESS = re.compile(r"suite\.|measure\.(?!seed$)")


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not the same on both sides. `base` and `new` are JSON; null is unknown.

    says: the fact on both sides, `base → new` · meaning: what it does to a speed · blocks: no verdict may rest on these
    sides · allowed: it would, had not the person said that it is what they compare · cases: the ids it touches.
    """

    key: str
    base: JsonValue
    new: JsonValue
    says: str
    meaning: str
    blocks: bool
    allowed: bool = False
    cases: tuple[str, ...] = ()


@dataclass
class Conditions:
    """The conditions of two reports, asked case by case. `allow` holds keys or globs of keys."""

    base: Report
    new: Report
    allow: Sequence[str] = ()
    _environments: dict[tuple[str, str], tuple[Difference, ...]] = field(default_factory=dict)
    _models: dict[str, tuple[Difference, ...]] = field(default_factory=dict)

    def everywhere(self) -> tuple[Difference, ...]:
        """All that differs: between the suites, then of the cases that both reports have."""
        cases = ((one.case.id, self.of_case(one, other)) for one, other in pairs_of(self.base, self.new))
        return (*self.of_suites(), *merged(cases))

    def of_suites(self) -> tuple[Difference, ...]:
        """What the two suites ask otherwise, as far as it decides no speed."""
        ours, theirs = self.new.suite, self.base.suite
        found = [] if ours.name == theirs.name else [self._difference("suite.name", theirs.name, ours.name)]
        if ours.name == theirs.name and ours.sha256 != theirs.sha256:
            found.append(self._difference("suite.sha256", theirs.sha256[:12], ours.sha256[:12]))
        settings, those = ours.measure.model_dump(), theirs.measure.model_dump()
        for name in sorted(settings.keys() | those.keys()):
            one, other = those.get(name), settings.get(name)
            if one != other and name not in ("timeout", "seed"):
                found.append(self._difference(f"measure.{name}", one, other))
        return tuple(found)

    def of_case(self, base: Result, new: Result) -> tuple[Difference, ...]:
        """What differs for one case: the machine and its settings, the model's making, its inputs and weights."""
        pair = (base.environment, new.environment)
        if pair not in self._environments:
            self._environments[pair] = self._of_environments(*pair)
        model = base.case.model
        if model not in self._models:
            self._models[model] = self._of_models(model)
        found = [*self._environments[pair], *self._models[model]]
        seeds = tuple(report.suite.measure.seed for report in (self.base, self.new))
        if seeds[0] != seeds[1]:
            found.append(self._difference("measure.seed", *seeds))
        if base.weights != new.weights and base.weights is not None and new.weights is not None:
            found.append(self._difference("weights", base.weights, new.weights))
        return tuple(found)

    def _of_environments(self, base: str, new: str) -> tuple[Difference, ...]:
        one, other = self.base.environments.get(base), self.new.environments.get(new)
        if one is None or other is None:
            return (self._difference("environment", None if one is None else base, None if other is None else new),)
        found = []
        for sentence in differing_facts(one, other):
            key, told, says = sentence.partition(": ")
            key = key if told else sentence.removesuffix(" differs")
            made = self._difference(key, fact(one, key), fact(other, key))
            found.append(replace(made, says=_arrow(says)))
        return tuple(found)

    def _of_models(self, model: str) -> tuple[Difference, ...]:
        one, other = (_spec(report, model) for report in (self.base, self.new))
        return tuple(
            self._difference(f"models.{model}.{name}", one.get(name), other.get(name))
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        )

    def _difference(self, key: str, base: JsonValue, new: JsonValue) -> Difference:
        harmful = not _HARMLESS.match(key)
        allowed = harmful and is_allowed(key, self.allow)
        return Difference(
            key, base, new, f"{_said(base)} → {_said(new)}", meaning(key), harmful and not allowed, allowed
        )


def is_allowed(key: str, allow: Iterable[str]) -> bool:
    """Whether one of `allow`, keys or globs of keys, names `key`."""
    return any(key == pattern or fnmatchcase(key, pattern) for pattern in allow)


def meaning(key: str) -> str:
    """What a difference in the fact `key` means for a speed."""
    return next((text for pattern, text in MEANINGS.items() if key == pattern or fnmatchcase(key, pattern)), "")


def fact(environment: Environment, key: str) -> JsonValue:
    """The fact at a dotted key such as `torch.flags.cudnn_tf32` or `gpu[0].name`; null where it is unknown."""
    here: Any = environment.model_dump()
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(here, list):
            here = here[int(part)] if part.isdigit() and int(part) < len(here) else None
        else:
            here = here.get(part) if isinstance(here, dict) else None
    return here.get("value") if isinstance(here, dict) and "reason" in here else here


def merged(found: Iterable[tuple[str, Sequence[Difference]]]) -> tuple[Difference, ...]:
    """Differences that say the same of several cases, each once with the ids of its cases, in order of appearance."""
    cases: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Difference] = {}
    for case, several in found:
        for each in several:
            first.setdefault((each.key, each.says), each)
            cases.setdefault((each.key, each.says), []).append(case)
    return tuple(replace(each, cases=tuple(cases[name])) for name, each in first.items())


def blocked(differences: Sequence[Difference]) -> str:
    """Why these conditions allow no verdict; empty where they do."""
    keys = [each.key for each in differences if each.blocks]
    if not keys:
        return ""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more} {'differs' if len(keys) == 1 else 'differ'}"


def unused_allowances(allow: Sequence[str], differences: Sequence[Difference]) -> list[str]:
    """A sentence for each `allow` that nothing needed: most likely a slip of the pen."""
    allowed = [each.key for each in differences if each.allowed]
    return [
        f"--allow {pattern}: no such fact differs."
        for pattern in allow
        if not any(is_allowed(key, [pattern]) for key in allowed)
    ]


def _spec(report: Report, model: str) -> Mapping[str, Any]:
    """How the model comes to be, less its weights: the result itself says which it had, with their hash."""
    spec = report.suite.models.get(model)
    if spec is None:
        return {}
    return {name: value for name, value in spec.model_dump().items() if name != "weights" and value not in (None, {})}


def _arrow(says: str) -> str:
    """`2 here, 4 there` as `2 → 4`."""
    base, _, new = says.removesuffix(" there").partition(" here, ")
    return f"{base} → {new}" if new else "too long to show"


def _said(value: JsonValue) -> str:
    return "unknown" if value is None else str(value)
