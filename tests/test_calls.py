"""Two kinds of call, and times that climb: told where every round shows them, and never of ordinary noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from builders import make_report, make_result, make_round, rendered
from test_targets import judge_one  # noqa: F401

from bench.plan.case import Case
from bench.report.calls import Groups, groups, trend
