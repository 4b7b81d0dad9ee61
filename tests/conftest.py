"""Settings of every test run."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # the problems are small, and the machine is shared
