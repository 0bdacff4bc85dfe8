"""Shared by all tests: one thread, so that parallel runs do not fight over cores. Nothing is seeded here."""

import torch

torch.set_num_threads(1)
